//! Batches of maximum size, and their uploads.

use anyhow::Context as _;
use concord_proto::{
    pb::imports::{
        BatchCommit, BatchHeader, UploadBatchRequest, import_service_client::ImportServiceClient,
        upload_batch_request::Part,
    },
    wire::BatchFrame,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use prost::bytes::Bytes;

use super::Practice;
use crate::service::Wire;

/// Limits of the server for one batch and one frame.
const BATCH_BYTES: usize = 10 * 1_024 * 1_024;
const BATCH_RECORDS: usize = 50_000;
const FRAME_BYTES: usize = 1_024 * 1_024;

/// Concurrent uploads, as in `concord import`.
const UPLOADS: usize = 4;

/// A batch of records.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    key: String,
    records: Vec<Bytes>,
}

impl Batch {
    /// The batches of a practice, created lazily.
    pub(crate) fn all(practice: Practice) -> impl Iterator<Item = Self> + Send {
        let mut records = practice.records().peekable();
        let keys = (1..).map(|number| format!("batch-{number:04}"));
        keys.map_while(move |key| {
            let (mut batch, mut size) = (Vec::new(), 0);
            let fits = |size: usize, record: &Bytes| size + record.len() <= BATCH_BYTES;
            while batch.len() < BATCH_RECORDS
                && let Some(record) = records.next_if(|record| fits(size, record))
            {
                size += record.len();
                batch.push(record);
            }
            (!batch.is_empty()).then_some(Self { key, records: batch })
        })
    }

    /// Number of records.
    pub(crate) const fn len(&self) -> usize {
        self.records.len()
    }

    /// Total size of the records, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }

    /// The frames: as few as possible.
    fn frames(&self) -> Vec<BatchFrame> {
        let (mut frames, mut frame, mut size) = (Vec::new(), Vec::new(), 0);
        for record in &self.records {
            if size + record.len() > FRAME_BYTES {
                frames.push(BatchFrame { records: std::mem::take(&mut frame) });
                size = 0;
            }
            size += record.len();
            frame.push(record.clone());
        }
        frames.push(BatchFrame { records: frame });
        frames
    }

    /// The messages of the upload.
    fn messages(&self, import_id: &str) -> anyhow::Result<Vec<UploadBatchRequest>> {
        let header = BatchHeader {
            import_id: import_id.to_owned(),
            batch_key: self.key.clone(),
            size_bytes: self.size().try_into()?,
            record_count: self.len().try_into()?,
            ..BatchHeader::default()
        };
        let mut parts = vec![Part::Header(header)];
        parts.extend(self.frames().into_iter().map(Part::Frame));
        parts.push(Part::Commit(BatchCommit::default()));
        Ok(parts.into_iter().map(|part| UploadBatchRequest { part: Some(part) }).collect())
    }

    async fn upload(
        self,
        mut imports: ImportServiceClient<Wire>,
        import_id: &str,
    ) -> anyhow::Result<usize> {
        let messages = self.messages(import_id)?;
        let response = imports.upload_batch(stream::iter(messages)).await?.into_inner();
        response.receipt.context("the upload has no receipt")?;
        Ok(self.len())
    }
}

/// Uploads batches until each has its receipt. Returns the numbers of batches and records.
pub(super) async fn upload_all(
    imports: &ImportServiceClient<Wire>,
    import_id: &str,
    batches: impl Iterator<Item = Batch> + Send,
) -> anyhow::Result<(usize, usize)> {
    stream::iter(batches)
        .map(|batch| batch.upload(imports.clone(), import_id))
        .buffer_unordered(UPLOADS)
        .try_fold((0, 0), async |(batches, records), more| Ok((batches + 1, records + more)))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_contain_all_records_within_the_limits() {
        let practice = Practice::new(120_000).full();
        let batches: Vec<Batch> = Batch::all(practice).collect();
        let packed = batches.iter().flat_map(|batch| &batch.records);
        assert!(packed.eq(&practice.records().collect::<Vec<_>>()));
        assert!(batches.iter().all(|batch| batch.size() <= BATCH_BYTES));
        assert!(batches[..2].iter().all(|batch| batch.size() > BATCH_BYTES * 3 / 4));
        for batch in &batches {
            assert!(batch.len() <= BATCH_RECORDS);
            let frames = batch.frames();
            let size = |frame: &BatchFrame| frame.records.iter().map(Bytes::len).sum::<usize>();
            assert!(frames.iter().all(|frame| size(frame) <= FRAME_BYTES));
            assert_eq!(frames.iter().map(size).sum::<usize>(), batch.size());
        }
    }
}
