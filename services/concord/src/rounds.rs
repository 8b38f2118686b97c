//! Moves an import on after its end, or ends it before.

use anyhow::ensure;
use shared::pb::imports::{
    CancelImportRequest, CommitImportRequest, GetImportRequest, Import, ImportState,
    RetryImportRequest,
};
use tonic::Status;

use crate::{client::Server, progress::Progress, refused::Refused, retry::until_answered};

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
) -> anyhow::Result<Import> {
    if replacements && takes_replacements(before) {
        progress.note(format_args!("going on with round {}", before.round));
        return Ok(before.clone());
    }
    let (import_id, round) = (before.id.clone(), before.round + 1);
    let request = RetryImportRequest { import_id, replacements, round };
    let begun = until_answered(progress, async || {
        server.import_calls().retry_import(request.clone()).await
    });
    let import = begun.await?.into_inner().import.unwrap_or_default();
    ensure!(
        !replacements || takes_replacements(&import),
        "round {} of {} was begun by somebody else, without these corrections; when it has ended, \
         the same command sends them",
        import.round,
        import.id
    );
    Ok(import)
}

/// Whether the import takes batches in a round after the first.
fn takes_replacements(import: &Import) -> bool {
    import.state() == ImportState::Receiving && import.round > 1
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
