//! Watches an import to its end. Carries on after a lost connection.

use anyhow::Context as _;
use shared::pb::imports::{Import, ImportState, WatchImportRequest};
use tonic::Status;

use crate::{client::Server, progress::Progress, refused::Refused, retry::Patience};

/// Watches the import to its end, from whichever replica answers.
pub(crate) async fn to_its_end(
    server: &Server,
    import_id: &str,
    progress: &Progress,
) -> anyhow::Result<Import> {
    let ended = watch(server, import_id, progress).await;
    ended.with_context(|| format!("{import_id} goes on by itself, and is out of sight"))
}

async fn watch(server: &Server, import_id: &str, progress: &Progress) -> Result<Import, Refused> {
    let mut patience = Patience::limited();
    loop {
        let status = match watch_once(server, import_id, progress, &mut patience).await {
            Ok(ended) => return Ok(ended),
            Err(status) => status,
        };
        let Some(pause) = patience.pause_after(&status) else { return Err(status.into()) };
        progress.trouble(&status);
        tokio::time::sleep(pause).await;
    }
}

async fn watch_once(
    server: &Server,
    import_id: &str,
    progress: &Progress,
    patience: &mut Patience,
) -> Result<Import, Status> {
    let request = WatchImportRequest { import_id: import_id.to_owned() };
    let mut messages = server.import_calls().watch_import(request).await?.into_inner();
    while let Some(message) = messages.message().await? {
        patience.renew();
        let import = message.import.unwrap_or_default();
        progress.seen(&import);
        if has_ended(import.state()) {
            return Ok(import);
        }
    }
    Err(Status::unavailable("the server ended the stream"))
}

/// Whether nothing more happens by itself.
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
