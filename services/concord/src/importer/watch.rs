//! Watches an import until it ends. Reconnects after a lost connection.

use anyhow::Context as _;
use concord_proto::pb::imports::{Import, ImportState, WatchImportRequest};
use tonic::Status;

use crate::{
    client::{Backoff, CallError, RetryObserver as _, ServiceClient},
    render::progress::Progress,
};

/// Watches the import until it reaches a terminal state. Any replica can serve the stream.
pub(crate) async fn watch_to_end(
    server: &ServiceClient,
    import_id: &str,
    progress: &Progress,
) -> anyhow::Result<Import> {
    let ended = watch(server, import_id, progress).await;
    ended.with_context(|| format!("lost the watch of {import_id}, which continues on the server"))
}

async fn watch(
    server: &ServiceClient,
    import_id: &str,
    progress: &Progress,
) -> Result<Import, CallError> {
    let mut backoff = Backoff::limited();
    loop {
        let status = match watch_once(server, import_id, progress, &mut backoff).await {
            Ok(ended) => return Ok(ended),
            Err(status) => status,
        };
        let Some(delay) = backoff.next_delay(&status) else { return Err(status.into()) };
        progress.retrying(&status);
        tokio::time::sleep(delay).await;
    }
}

async fn watch_once(
    server: &ServiceClient,
    import_id: &str,
    progress: &Progress,
    backoff: &mut Backoff,
) -> Result<Import, Status> {
    let request = WatchImportRequest { import_id: import_id.to_owned() };
    let mut messages = server.import_calls().watch_import(request).await?.into_inner();
    while let Some(message) = messages.message().await? {
        backoff.reset();
        let import = message.import_job.unwrap_or_default();
        progress.update(&import);
        if has_ended(import.state()) {
            return Ok(import);
        }
    }
    Err(Status::unavailable("the server ended the stream"))
}

/// Whether the state is terminal.
fn has_ended(state: ImportState) -> bool {
    match state {
        ImportState::Completed
        | ImportState::CompletedWithFailures
        | ImportState::Validated
        | ImportState::Cancelled
        | ImportState::Expired
        | ImportState::FailedInternally => true,
        ImportState::Unspecified
        | ImportState::Receiving
        | ImportState::Sealed
        | ImportState::Resolving
        | ImportState::Applying
        | ImportState::Stalled => false,
    }
}
