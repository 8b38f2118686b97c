//! Brings a source over: opens an import, uploads it in batches, seals it, and
//! watches it to its end. Carries on after a lost connection.

use std::sync::Arc;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use shared::pb::imports::{
    CreateImportRequest, Import, ImportState, SealImportRequest, WatchImportRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    batches::{Batch, Layout, Packer},
    client::Server,
    csv_source::{Counts, Source},
    progress::Progress,
    refused::Refused,
    retry::{Patience, until_answered},
};

/// Batches on their way at the same time.
const UPLOADS: usize = 4;

/// Imports the source, and comes back with the import as it ended.
pub(crate) async fn transfer(
    server: &Server,
    source: Source,
    label: &str,
    layout: Layout,
    progress: &Progress,
) -> anyhow::Result<Import> {
    let counts = source.counts();
    let import_id = create(server, label, progress).await.context("the import was not opened")?;
    progress.note(format_args!("import {import_id}: {} records", counts.all()));
    let batches = upload_all(server, &import_id, source, layout, progress)
        .await
        .context("the upload did not end, and nothing was imported")?;
    seal(server, &import_id, batches, counts, progress)
        .await
        .context("the import was not started, and nothing was imported")?;
    watch(server, &import_id, progress)
        .await
        .with_context(|| format!("{import_id} was started, and is out of sight"))
}

async fn create(server: &Server, label: &str, progress: &Progress) -> Result<String, Refused> {
    let answer = until_answered(progress, async || {
        let request =
            CreateImportRequest { label: label.to_owned(), ..CreateImportRequest::default() };
        server.import_calls().create_import(request).await
    });
    let import = answer.await?.into_inner().import.unwrap_or_default();
    Ok(import.id)
}

/// Uploads everything, and counts the batches.
async fn upload_all(
    server: &Server,
    import_id: &str,
    source: Source,
    layout: Layout,
    progress: &Progress,
) -> anyhow::Result<i32> {
    // One batch is packed while others are on their way, and no more.
    let (packed, batches) = mpsc::channel(1);
    let packing = tokio::task::spawn_blocking(move || pack(&source, layout, &packed));
    let uploaded = ReceiverStream::new(batches)
        .map(|batch| upload(server, import_id, batch, progress))
        .buffer_unordered(UPLOADS)
        .try_fold(0, |count, ()| async move { Ok(count + 1) });
    let count = uploaded.await?;
    packing.await??;
    Ok(count)
}

fn pack(source: &Source, layout: Layout, batches: &mpsc::Sender<Batch>) -> anyhow::Result<()> {
    let mut packer = Packer::new(layout);
    let hand_over = |batch| batches.blocking_send(batch).context("the upload has failed");
    source.read(|record| packer.push(record)?.map_or(Ok(()), hand_over))?;
    packer.finish().map_or(Ok(()), hand_over)
}

/// Uploads one batch, as often as it takes: what the server has already, it
/// knows by the key and the digest.
async fn upload(
    server: &Server,
    import_id: &str,
    batch: Batch,
    progress: &Progress,
) -> Result<(), Refused> {
    let batch = Arc::new(batch);
    until_answered(progress, async || {
        let (batch, import_id) = (Arc::clone(&batch), import_id.to_owned());
        let messages =
            (0..batch.message_count()).map(move |place| batch.message(&import_id, place));
        server.import_calls().upload_batch(tokio_stream::iter(messages)).await
    })
    .await?;
    progress.uploaded(batch.len());
    Ok(())
}

async fn seal(
    server: &Server,
    import_id: &str,
    batch_count: i32,
    counts: Counts,
    progress: &Progress,
) -> anyhow::Result<()> {
    let request = SealImportRequest {
        import_id: import_id.to_owned(),
        batch_count,
        record_count: i64::try_from(counts.all())?,
        client_count: Some(i64::try_from(counts.clients)?),
        contact_count: Some(i64::try_from(counts.contacts)?),
        address_count: Some(i64::try_from(counts.addresses)?),
    };
    let sealed =
        until_answered(progress, async || server.import_calls().seal_import(request.clone()).await);
    sealed.await?;
    Ok(())
}

/// Watches the import to its end, from whichever replica answers.
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

fn has_ended(state: ImportState) -> bool {
    match state {
        ImportState::Completed | ImportState::CompletedWithFailures => true,
        ImportState::Unspecified
        | ImportState::Receiving
        | ImportState::Sealed
        | ImportState::Resolving
        | ImportState::Applying
        | ImportState::Stalled => false,
    }
}
