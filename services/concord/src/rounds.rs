//! Moves an import on after its end, or ends it before.

use shared::pb::{
    imports::{
        CancelImportRequest, CommitImportRequest, GetImportRequest, Import, ImportState,
        RetryImportRequest,
    },
    records::ErrorReason,
};
use tonic::Status;

use crate::{
    client::Server,
    progress::Progress,
    refused::Refused,
    retry::{has_reason, until_answered},
};

/// Gets an import.
pub(crate) async fn get(
    server: &Server,
    import_id: &str,
    progress: &Progress,
) -> Result<Import, Refused> {
    let answer = until_answered(progress, async || get_once(server, import_id).await);
    answer.await
}

async fn get_once(server: &Server, import_id: &str) -> Result<Import, Status> {
    let request = GetImportRequest { import_id: import_id.to_owned() };
    let answer = server.import_calls().get_import(request).await?;
    Ok(answer.into_inner().import.unwrap_or_default())
}

/// Begins the next round of the import; with replacements, it takes batches
/// then. One that takes them already, because an earlier retry was broken off,
/// goes on with them.
pub(crate) async fn retry(
    server: &Server,
    before: &Import,
    replacements: bool,
    progress: &Progress,
) -> Result<Import, Refused> {
    if replacements && takes_replacements(before) {
        progress.note(format_args!("going on with round {}", before.round));
        return Ok(before.clone());
    }
    let request = RetryImportRequest { import_id: before.id.clone(), replacements };
    let begun = until_answered(progress, async || {
        match server.import_calls().retry_import(request.clone()).await {
            Ok(answer) => Ok(answer.into_inner().import.unwrap_or_default()),
            Err(status) => begun_before(server, before, status).await,
        }
    });
    begun.await
}

/// Whether the import takes batches in a round after the first.
fn takes_replacements(import: &Import) -> bool {
    import.state() == ImportState::Receiving && import.round > 1
}

/// The import, when it was refused only because the call has come again: the
/// answer to the first one was lost.
async fn begun_before(server: &Server, before: &Import, status: Status) -> Result<Import, Status> {
    if !has_reason(&status, ErrorReason::ImportState) {
        return Err(status);
    }
    let now = get_once(server, &before.id).await?;
    if now.round == before.round + 1 { Ok(now) } else { Err(status) }
}

/// Begins to apply an import that was only checked.
pub(crate) async fn commit(
    server: &Server,
    import_id: &str,
    progress: &Progress,
) -> Result<(), Refused> {
    let request = CommitImportRequest { import_id: import_id.to_owned() };
    let committed = until_answered(progress, async || {
        server.import_calls().commit_import(request.clone()).await
    });
    committed.await.map(drop)
}

/// Asks an import to end.
pub(crate) async fn cancel(
    server: &Server,
    import_id: &str,
    progress: &Progress,
) -> Result<Import, Refused> {
    let request = CancelImportRequest { import_id: import_id.to_owned() };
    let cancelled = until_answered(progress, async || {
        server.import_calls().cancel_import(request.clone()).await
    });
    Ok(cancelled.await?.into_inner().import.unwrap_or_default())
}
