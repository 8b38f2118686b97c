//! Creates an import, uploads the records in batches, and seals it. Retries calls after a lost
//! connection.

use std::sync::Arc;

use anyhow::Context as _;
use concord_proto::pb::imports::{CreateImportRequest, GetBatchRequest, SealImportRequest};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{
    batches::{Batch, Layout, Packer},
    csv_source::{RecordCounts, Source},
};
use crate::{
    client::{CallError, ServiceClient, with_retries},
    render::progress::Progress,
};

/// The number of concurrent batch uploads.
const UPLOADS: usize = 4;

/// Creates an import. Returns its id.
pub(crate) async fn open(
    server: &ServiceClient,
    label: &str,
    validate_only: bool,
    progress: &Progress,
) -> Result<String, CallError> {
    let request = CreateImportRequest {
        label: label.to_owned(),
        validate_only,
        ..CreateImportRequest::default()
    };
    let answer =
        with_retries(progress, async || server.import_calls().create_import(request.clone()).await);
    Ok(answer.await?.into_inner().import_job.unwrap_or_default().id)
}

/// Uploads the source into this round of an import that receives batches, and seals it.
pub(crate) async fn transfer(
    server: &ServiceClient,
    import_id: &str,
    round: i32,
    source: Source,
    layout: Layout,
    progress: &Progress,
) -> anyhow::Result<()> {
    let counts = source.counts();
    let to = Destination { server, import_id, round, progress };
    let batches = to
        .upload_all(source, layout)
        .await
        .context("the upload was not completed, and nothing of it was imported")?;
    to.seal(batches, counts)
        .await
        .context("the import was not started, and nothing of the upload was imported")
}

/// The round of an import that receives batches.
#[derive(Clone, Copy)]
struct Destination<'d> {
    server: &'d ServiceClient,
    import_id: &'d str,
    round: i32,
    progress: &'d Progress,
}

impl Destination<'_> {
    /// Uploads all batches. Returns their number.
    async fn upload_all(self, source: Source, layout: Layout) -> anyhow::Result<i32> {
        // Backpressure: at most one packed batch waits while others are uploaded.
        let (ready, batches) = mpsc::channel(1);
        let packer = Packer::new(layout, self.round);
        let packing = tokio::task::spawn_blocking(move || pack(&source, packer, &ready));
        let uploaded = ReceiverStream::new(batches)
            .map(|batch| self.upload(batch))
            .buffer_unordered(UPLOADS)
            .try_fold(0, |count, ()| async move { Ok(count + 1) });
        let count = uploaded.await?;
        packing.await??;
        Ok(count)
    }

    /// Uploads one batch, with retries. After a failed attempt it first checks whether the
    /// server has the batch, to avoid sending it again.
    async fn upload(self, batch: Batch) -> Result<(), CallError> {
        let batch = Arc::new(batch);
        let mut is_retry = false;
        with_retries(self.progress, async || {
            if std::mem::replace(&mut is_retry, true) && self.is_staged(&batch).await? {
                return Ok(());
            }
            self.send(Arc::clone(&batch)).await
        })
        .await?;
        self.progress.uploaded(batch.len());
        Ok(())
    }

    async fn send(self, batch: Arc<Batch>) -> Result<(), Status> {
        let import_id = self.import_id.to_owned();
        let messages =
            (0..batch.message_count()).map(move |index| batch.message(&import_id, index));
        self.server.import_calls().upload_batch(tokio_stream::iter(messages)).await.map(drop)
    }

    async fn is_staged(self, batch: &Batch) -> Result<bool, Status> {
        let request =
            GetBatchRequest { import_id: self.import_id.to_owned(), batch_key: batch.key() };
        match self.server.import_calls().get_batch(request).await {
            Ok(answer) => {
                let receipt = answer.into_inner().receipt.unwrap_or_default();
                Ok(batch.has_digest(&receipt.sha256))
            }
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status),
        }
    }

    async fn seal(self, batch_count: i32, counts: RecordCounts) -> anyhow::Result<()> {
        let request = SealImportRequest {
            import_id: self.import_id.to_owned(),
            batch_count,
            record_count: i64::try_from(counts.all())?,
            client_count: Some(i64::try_from(counts.clients)?),
            contact_count: Some(i64::try_from(counts.contacts)?),
            address_count: Some(i64::try_from(counts.addresses)?),
        };
        with_retries(self.progress, async || {
            self.server.import_calls().seal_import(request.clone()).await
        })
        .await?;
        Ok(())
    }
}

fn pack(source: &Source, mut packer: Packer, batches: &mpsc::Sender<Batch>) -> anyhow::Result<()> {
    let send = |batch| batches.blocking_send(batch).context("the upload has failed");
    source.read(|record| packer.push(record)?.map_or(Ok(()), send))?;
    packer.finish().map_or(Ok(()), send)
}
