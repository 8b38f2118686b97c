//! Retries, commits and cancels an import.

use anyhow::ensure;
use concord_proto::pb::imports::{
    CancelImportRequest, CommitImportRequest, GetImportRequest, Import, ImportState,
    RetryImportRequest,
};
use tonic::Status;

use crate::{
    client::{CallError, ServiceClient, with_retries},
    render::progress::Progress,
};

/// Gets an import.
pub(crate) async fn get(
    server: &ServiceClient,
    import_id: &str,
    progress: &Progress,
) -> Result<Import, CallError> {
    let answer = with_retries(progress, async || get_once(server, import_id).await);
    answer.await
}

async fn get_once(server: &ServiceClient, import_id: &str) -> Result<Import, Status> {
    let request = GetImportRequest { import_id: import_id.to_owned() };
    let answer = server.import_calls().get_import(request).await?;
    Ok(answer.into_inner().import_job.unwrap_or_default())
}

/// Starts the next round of the import. With replacements the round receives batches. A round
/// that already receives batches, after an interrupted retry, is resumed.
pub(crate) async fn retry(
    server: &ServiceClient,
    before: &Import,
    replacements: bool,
    progress: &Progress,
) -> anyhow::Result<Import> {
    if replacements && takes_replacements(before) {
        progress.note(format_args!("resuming round {}", before.round));
        return Ok(before.clone());
    }
    let (import_id, round) = (before.id.clone(), before.round + 1);
    let request = RetryImportRequest { import_id, replacements, round };
    let started =
        with_retries(progress, async || server.import_calls().retry_import(request.clone()).await);
    let import = started.await?.into_inner().import_job.unwrap_or_default();
    ensure!(
        !replacements || takes_replacements(&import),
        "another caller started round {} of {} without these corrections; when it has ended, the \
         same command sends them",
        import.round,
        import.id
    );
    Ok(import)
}

/// Whether the import receives batches in a round after the first.
fn takes_replacements(import: &Import) -> bool {
    import.state() == ImportState::Receiving && import.round > 1
}

/// Starts to apply an import that was a dry run.
pub(crate) async fn commit(
    server: &ServiceClient,
    import_id: &str,
    progress: &Progress,
) -> Result<(), CallError> {
    let request = CommitImportRequest { import_id: import_id.to_owned() };
    let committed =
        with_retries(progress, async || server.import_calls().commit_import(request.clone()).await);
    committed.await.map(drop)
}

/// Requests the cancellation of an import.
pub(crate) async fn cancel(
    server: &ServiceClient,
    import_id: &str,
    progress: &Progress,
) -> Result<Import, CallError> {
    let request = CancelImportRequest { import_id: import_id.to_owned() };
    let cancelled =
        with_retries(progress, async || server.import_calls().cancel_import(request.clone()).await);
    Ok(cancelled.await?.into_inner().import_job.unwrap_or_default())
}
