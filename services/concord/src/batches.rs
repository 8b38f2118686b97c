//! Packs encoded records into batches, and batches into frames.

use std::ops::Range;

use anyhow::ensure;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use shared::{
    pb::imports::{BatchCommit, BatchHeader, UploadBatchRequest, upload_batch_request::Part},
    wire::BatchFrame,
};

/// The most that the server takes in one batch.
const MAX_BATCH_BYTES: usize = 10 * 1_024 * 1_024;
/// The most records that the server takes in one batch.
const MAX_BATCH_RECORDS: usize = 50_000;
/// How full a batch is made. Room for the protocol is left, and a batch that
/// has to be sent again is sent again whole.
const BATCH_BYTES: usize = 8 * 1_024 * 1_024;
/// How full a frame is made: small enough that other calls on the connection
/// are not held up by it. A record that is larger has a frame of its own.
const FRAME_BYTES: usize = 256 * 1_024;

/// Where one batch ends and the next begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// As few batches as will do.
    Full,
    /// So many batches, of as many records each as can be; more when the records
    /// do not fit otherwise, fewer when there are fewer records.
    Even { records: u64, batches: u32 },
}

/// Some records that are uploaded together.
#[derive(Debug)]
pub(crate) struct Batch {
    round: i32,
    ordinal: usize,
    records: Vec<Bytes>,
    frames: Vec<Range<usize>>,
    size_bytes: usize,
    digest: [u8; 32],
}

/// SHA-256 over records, each after its length as eight bytes, big end first.
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
        for (place, record) in records.iter().enumerate() {
            digest.add(record);
            if frame_bytes > 0 && frame_bytes + record.len() > FRAME_BYTES {
                frames.push(begin..place);
                (begin, frame_bytes) = (place, 0);
            }
            frame_bytes += record.len();
            size_bytes += record.len();
        }
        frames.push(begin..records.len());
        Self { round, ordinal, records, frames, size_bytes, digest: digest.0.finalize().into() }
    }

    /// The name of the batch in its import. The round and the digest are parts
    /// of it, so that a batch of another round or with other content never meets
    /// a receipt of this one.
    pub(crate) fn key(&self) -> String {
        let [a, b, c, d, ..] = self.digest;
        let round = if self.round > 1 { format!("r{}-", self.round) } else { String::new() };
        format!("{round}{:04}-{a:02x}{b:02x}{c:02x}{d:02x}", self.ordinal)
    }

    /// Whether the receipt is of this batch.
    pub(crate) fn has_digest(&self, sha256: &[u8]) -> bool {
        self.digest == *sha256
    }

    /// How many records it has.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The messages of its upload: how many there are.
    pub(crate) fn message_count(&self) -> usize {
        self.frames.len() + 2
    }

    /// One message of its upload: the header, the frames, the commit.
    pub(crate) fn message(&self, import_id: &str, place: usize) -> UploadBatchRequest {
        let part = match place.checked_sub(1) {
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

/// Fills one batch after the other.
#[derive(Debug)]
pub(crate) struct Packer {
    layout: Layout,
    /// The round of the import that the batches are of, from 1.
    round: i32,
    ordinal: usize,
    /// Records that were pushed, all together.
    pushed: u64,
    records: Vec<Bytes>,
    size_bytes: usize,
}

impl Packer {
    pub(crate) fn new(layout: Layout, round: i32) -> Self {
        Self { layout, round, ordinal: 1, pushed: 0, records: Vec::new(), size_bytes: 0 }
    }

    /// Takes a record, and gives the batch that is complete without it.
    ///
    /// # Errors
    ///
    /// When no batch can hold the record.
    pub(crate) fn push(&mut self, record: Bytes) -> anyhow::Result<Option<Batch>> {
        ensure!(
            record.len() <= MAX_BATCH_BYTES,
            "a record of {} bytes fits into no batch",
            record.len()
        );
        let full = self.is_full_for(record.len());
        let complete = if full { self.cut() } else { None };
        self.size_bytes += record.len();
        self.records.push(record);
        self.pushed += 1;
        Ok(complete)
    }

    /// The last batch, when anything is in it.
    pub(crate) fn finish(mut self) -> Option<Batch> {
        self.cut()
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

    fn cut(&mut self) -> Option<Batch> {
        if self.records.is_empty() {
            return None;
        }
        let batch = Batch::new(self.round, self.ordinal, std::mem::take(&mut self.records));
        self.ordinal += 1;
        self.size_bytes = 0;
        Some(batch)
    }
}

/// Which of `batches` equal shares of `records` the record at `place` is in.
fn share(place: u64, records: u64, batches: u32) -> u128 {
    u128::from(place) * u128::from(batches.max(1)) / u128::from(records.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn pack(layout: Layout, sizes: &[usize]) -> Vec<Batch> {
        let mut packer = Packer::new(layout, 1);
        let mut batches = Vec::new();
        for (place, size) in sizes.iter().enumerate() {
            // Each record says which one it is.
            let mut record = vec![0; (*size).max(8)];
            record[..8].copy_from_slice(&(place as u64).to_be_bytes());
            batches.extend(packer.push(record.into()).unwrap());
        }
        batches.extend(packer.finish());
        batches
    }

    fn frames(batch: &Batch) -> Vec<BatchFrame> {
        let messages = (0..batch.message_count()).map(|place| batch.message("imp_1", place));
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
        fn every_record_is_packed_once_within_the_limits(
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
        fn small_records_are_spread_over_as_many_batches_as_asked(
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
    fn a_batch_has_no_more_records_than_the_server_takes() {
        let packed = pack(Layout::Full, &vec![8; MAX_BATCH_RECORDS + 1]);
        assert_eq!(packed.iter().map(Batch::len).collect::<Vec<_>>(), [MAX_BATCH_RECORDS, 1]);
    }

    #[test]
    fn the_digest_is_that_of_the_header_in_the_protocol() {
        let records: Vec<Bytes> = vec!["one".into(), Bytes::new(), "three".into()];
        let batch = Batch::new(1, 7, records);
        // Each after its length as eight bytes, big end first.
        let bytes = b"\0\0\0\0\0\0\0\x03one\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05three";
        assert_eq!(batch.digest, <[u8; 32]>::from(Sha256::digest(bytes)));
        assert!(batch.key().starts_with("0007-"));
        assert_eq!(batch.key().len(), "0007-89abcdef".len());
        assert!(batch.has_digest(&batch.sha256()) && !batch.has_digest(b"another"));
    }

    #[test]
    fn the_batches_of_each_round_have_keys_of_their_own() {
        let key = |round| Batch::new(round, 1, vec![Bytes::from_static(b"record")]).key();
        assert_eq!(key(2), format!("r2-{}", key(1)));
    }

    #[test]
    fn an_upload_is_a_header_then_frames_then_a_commit() {
        let batch = Batch::new(1, 1, vec![Bytes::from_static(b"record")]);
        let parts: Vec<_> = (0..batch.message_count())
            .map(|place| batch.message("imp_1", place).part.unwrap())
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
