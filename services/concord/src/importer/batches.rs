//! Packs encoded records into batches, and batches into frames.

use std::ops::Range;

use anyhow::ensure;
use bytes::Bytes;
use concord_proto::{
    limits::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS},
    pb::imports::{BatchCommit, BatchHeader, UploadBatchRequest, upload_batch_request::Part},
    wire::BatchFrame,
};
use sha2::{Digest as _, Sha256};

/// The target size of a batch in bytes. Below the maximum, for the protocol overhead, and
/// because a retry sends the whole batch again.
const BATCH_BYTES: usize = 8 * 1_024 * 1_024;
/// The target size of a frame in bytes: small enough not to delay other calls on the
/// connection. A larger record has a frame of its own.
const FRAME_BYTES: usize = 256 * 1_024;

/// How records are distributed over batches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// The fewest batches.
    Full,
    /// This number of batches with an equal number of records; more when a batch would
    /// exceed its limits, fewer when there are fewer records.
    Even { records: u64, batches: u32 },
}

impl Layout {
    /// The layout of `records` in this number of batches, or in the fewest.
    pub(crate) fn of(records: u64, batches: Option<u32>) -> Self {
        batches.map_or(Self::Full, |batches| Self::Even { records, batches })
    }
}

/// Records that are uploaded in one call.
#[derive(Debug)]
pub(crate) struct Batch {
    round: i32,
    ordinal: usize,
    records: Vec<Bytes>,
    frames: Vec<Range<usize>>,
    size_bytes: usize,
    digest: [u8; 32],
}

/// SHA-256 over records, each with a 64-bit big-endian length prefix.
#[derive(Clone, Debug, Default)]
struct RecordsDigest(Sha256);

impl RecordsDigest {
    fn add(&mut self, record: &[u8]) {
        self.0.update((record.len() as u64).to_be_bytes());
        self.0.update(record);
    }
}

impl Batch {
    fn new(round: i32, ordinal: usize, records: Vec<Bytes>) -> Self {
        let mut digest = RecordsDigest::default();
        let (mut size_bytes, mut frame_bytes, mut begin) = (0, 0, 0);
        let mut frames = Vec::new();
        for (index, record) in records.iter().enumerate() {
            digest.add(record);
            if frame_bytes > 0 && frame_bytes + record.len() > FRAME_BYTES {
                frames.push(begin..index);
                (begin, frame_bytes) = (index, 0);
            }
            frame_bytes += record.len();
            size_bytes += record.len();
        }
        frames.push(begin..records.len());
        Self { round, ordinal, records, frames, size_bytes, digest: digest.0.finalize().into() }
    }

    /// The idempotency key of the batch in its import. It contains the round and the
    /// digest, so that a batch of another round or with other content has another key.
    pub(crate) fn key(&self) -> String {
        let [a, b, c, d, ..] = self.digest;
        let round = if self.round > 1 { format!("r{}-", self.round) } else { String::new() };
        format!("{round}{:04}-{a:02x}{b:02x}{c:02x}{d:02x}", self.ordinal)
    }

    /// Whether the digest of a receipt is that of this batch.
    pub(crate) fn has_digest(&self, sha256: &[u8]) -> bool {
        self.digest == *sha256
    }

    /// The number of records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The number of messages of its upload.
    pub(crate) fn message_count(&self) -> usize {
        self.frames.len() + 2
    }

    /// A message of its upload by index: the header, the frames, the commit.
    pub(crate) fn message(&self, import_id: &str, index: usize) -> UploadBatchRequest {
        let part = match index.checked_sub(1) {
            None => Part::Header(self.header(import_id)),
            Some(frame) => match self.frames.get(frame) {
                Some(range) => Part::Frame(self.frame(range.clone())),
                None => Part::Commit(BatchCommit { sha256: self.sha256() }),
            },
        };
        UploadBatchRequest { part: Some(part) }
    }

    fn header(&self, import_id: &str) -> BatchHeader {
        BatchHeader {
            import_id: import_id.to_owned(),
            batch_key: self.key(),
            sha256: self.sha256(),
            size_bytes: i64::try_from(self.size_bytes).unwrap_or(i64::MAX),
            record_count: i32::try_from(self.records.len()).unwrap_or(i32::MAX),
        }
    }

    fn frame(&self, range: Range<usize>) -> BatchFrame {
        BatchFrame { records: self.records.get(range).unwrap_or_default().to_vec() }
    }

    fn sha256(&self) -> Bytes {
        Bytes::copy_from_slice(&self.digest)
    }
}

/// Packs records into batches, in order.
#[derive(Debug)]
pub(crate) struct Packer {
    layout: Layout,
    /// The round of the import that the batches are of, from 1.
    round: i32,
    ordinal: usize,
    /// The total number of pushed records.
    pushed: u64,
    records: Vec<Bytes>,
    size_bytes: usize,
}

impl Packer {
    pub(crate) fn new(layout: Layout, round: i32) -> Self {
        Self { layout, round, ordinal: 1, pushed: 0, records: Vec::new(), size_bytes: 0 }
    }

    /// Adds a record. Returns the previous batch when the record does not fit into it.
    ///
    /// # Errors
    ///
    /// When the record exceeds the maximum size of a batch.
    pub(crate) fn push(&mut self, record: Bytes) -> anyhow::Result<Option<Batch>> {
        ensure!(
            record.len() <= MAX_BATCH_BYTES,
            "a record of {} bytes exceeds the maximum size of a batch",
            record.len()
        );
        let full = self.is_full_for(record.len());
        let complete = if full { self.take_batch() } else { None };
        self.size_bytes += record.len();
        self.records.push(record);
        self.pushed += 1;
        Ok(complete)
    }

    /// The last batch, unless it is empty.
    pub(crate) fn finish(mut self) -> Option<Batch> {
        self.take_batch()
    }

    fn is_full_for(&self, next: usize) -> bool {
        if self.records.len() == MAX_BATCH_RECORDS {
            return true;
        }
        match self.layout {
            Layout::Full => !self.records.is_empty() && self.size_bytes + next > BATCH_BYTES,
            Layout::Even { records, batches } => {
                self.size_bytes + next > MAX_BATCH_BYTES
                    || (self.pushed > 0
                        && share(self.pushed, records, batches)
                            != share(self.pushed - 1, records, batches))
            }
        }
    }

    fn take_batch(&mut self) -> Option<Batch> {
        if self.records.is_empty() {
            return None;
        }
        let batch = Batch::new(self.round, self.ordinal, std::mem::take(&mut self.records));
        self.ordinal += 1;
        self.size_bytes = 0;
        Some(batch)
    }
}

/// The index of the batch for the record at `index`, with `records` distributed evenly over
/// `batches`.
fn share(index: u64, records: u64, batches: u32) -> u128 {
    u128::from(index) * u128::from(batches.max(1)) / u128::from(records.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn pack(layout: Layout, sizes: &[usize]) -> Vec<Batch> {
        let mut packer = Packer::new(layout, 1);
        let mut batches = Vec::new();
        for (index, size) in sizes.iter().enumerate() {
            // Each record contains its index.
            let mut record = vec![0; (*size).max(8)];
            record[..8].copy_from_slice(&(index as u64).to_be_bytes());
            batches.extend(packer.push(record.into()).unwrap());
        }
        batches.extend(packer.finish());
        batches
    }

    fn frames(batch: &Batch) -> Vec<BatchFrame> {
        let messages = (0..batch.message_count()).map(|index| batch.message("imp_1", index));
        messages
            .filter_map(|message| match message.part {
                Some(Part::Frame(frame)) => Some(frame),
                _ => None,
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_record_is_packed_once_within_limits(
            sizes in prop::collection::vec(prop_oneof![0..2_000_usize, 0..1_048_576_usize], 0..120),
            batches in prop::option::of(1..40_u32),
        ) {
            let layout = batches.map_or(Layout::Full, |batches| {
                Layout::Even { records: sizes.len() as u64, batches }
            });
            let packed = pack(layout, &sizes);
            let mut seen = 0_u64;
            for batch in &packed {
                prop_assert!(batch.len() > 0 && batch.len() <= MAX_BATCH_RECORDS);
                prop_assert!(batch.size_bytes <= MAX_BATCH_BYTES);
                for frame in frames(batch) {
                    let size: usize = frame.records.iter().map(Bytes::len).sum();
                    prop_assert!(size <= FRAME_BYTES || frame.records.len() == 1);
                    prop_assert!(frame.encoded_len() <= 2 * 1_024 * 1_024);
                    for record in &frame.records {
                        prop_assert_eq!(u64::from_be_bytes(record[..8].try_into().unwrap()), seen);
                        seen += 1;
                    }
                }
            }
            prop_assert_eq!(seen, sizes.len() as u64);
        }

        #[test]
        fn even_layout_makes_the_requested_number_of_batches(
            records in 0..400_usize,
            batches in 1..400_u32,
        ) {
            let layout = Layout::Even { records: records as u64, batches };
            let packed = pack(layout, &vec![8; records]);
            prop_assert_eq!(packed.len(), records.min(batches as usize));
            let sizes: Vec<_> = packed.iter().map(Batch::len).collect();
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            prop_assert!(most.unwrap_or(&0) - least.unwrap_or(&0) <= 1, "{sizes:?}");
        }
    }

    #[test]
    fn batch_has_at_most_the_maximum_records() {
        let packed = pack(Layout::Full, &vec![8; MAX_BATCH_RECORDS + 1]);
        assert_eq!(packed.iter().map(Batch::len).collect::<Vec<_>>(), [MAX_BATCH_RECORDS, 1]);
    }

    #[test]
    fn digest_has_big_endian_length_prefixes() {
        let records: Vec<Bytes> = vec!["one".into(), Bytes::new(), "three".into()];
        let batch = Batch::new(1, 7, records);
        // Each record has a 64-bit big-endian length prefix.
        let bytes = b"\0\0\0\0\0\0\0\x03one\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05three";
        assert_eq!(batch.digest, <[u8; 32]>::from(Sha256::digest(bytes)));
        assert!(batch.key().starts_with("0007-"));
        assert_eq!(batch.key().len(), "0007-89abcdef".len());
        assert!(batch.has_digest(&batch.sha256()) && !batch.has_digest(b"another"));
    }

    #[test]
    fn batch_key_differs_by_round() {
        let key = |round| Batch::new(round, 1, vec![Bytes::from_static(b"record")]).key();
        assert_eq!(key(2), format!("r2-{}", key(1)));
    }

    #[test]
    fn upload_is_header_frames_commit() {
        let batch = Batch::new(1, 1, vec![Bytes::from_static(b"record")]);
        let parts: Vec<_> = (0..batch.message_count())
            .map(|index| batch.message("imp_1", index).part.unwrap())
            .collect();
        let [Part::Header(header), Part::Frame(frame), Part::Commit(commit)] = parts.as_slice()
        else {
            panic!("{parts:?}")
        };
        assert_eq!((header.size_bytes, header.record_count), (6, 1));
        assert_eq!(frame.records.len(), 1);
        assert_eq!(commit.sha256, header.sha256);
    }
}
