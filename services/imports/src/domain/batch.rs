//! Receives a batch: counts, hashes and checks the frames while they arrive, so that no
//! content over a limit is buffered.

use bytes::{Bytes, BytesMut};
use concord_proto::{limits, wire};
use sha2::{Digest as _, Sha256};

use super::enums::{self, Kind};

/// Limit on the total size of the records of a batch, in bytes.
pub(crate) const MAX_BATCH_BYTES: u64 = limits::MAX_BATCH_BYTES as u64;
/// Limit on the number of records in a batch.
pub(crate) const MAX_BATCH_RECORDS: u64 = limits::MAX_BATCH_RECORDS as u64;

/// Limit on the total size of the records of a frame, in bytes.
pub(crate) const MAX_FRAME_BYTES: u64 = limits::MAX_FRAME_BYTES as u64;
/// Limit on the size of one record, in bytes. A larger record that fits a frame fails
/// alone.
pub(crate) const MAX_RECORD_BYTES: u64 = limits::MAX_RECORD_BYTES as u64;
/// Limit on the length of a batch key, in characters.
pub(crate) const MAX_BATCH_KEY: usize = 100;

/// SHA-256 over the records, each prefixed with its length as a 64-bit big-endian
/// integer.
pub(crate) type BatchDigest = [u8; 32];

/// What the header of a batch declares about its content.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Declared {
    /// The digest.
    pub(crate) sha256: Option<BatchDigest>,
    /// The sum of the records' sizes in bytes.
    pub(crate) size_bytes: Option<u64>,
    /// The number of records.
    pub(crate) records: Option<u64>,
}

/// Why a batch is rejected as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    /// The batch exceeds the size limit; `field` is the field that shows it.
    #[error("a batch is {MAX_BATCH_BYTES} bytes at most, and this one has {size}: split it")]
    TooLarge { field: &'static str, size: u64 },
    /// The batch exceeds the limit on records; `field` is the field that shows it.
    #[error("a batch is {MAX_BATCH_RECORDS} records at most, and this one has {records}: split it")]
    TooManyRecords { field: &'static str, records: u64 },
    /// A frame exceeds the size limit.
    #[error("a frame is {MAX_FRAME_BYTES} bytes of records at most: split it")]
    FrameTooLarge,
    /// The received content differs from the declaration.
    #[error("the {what} differs: {expected} was declared, {arrived} arrived")]
    Mismatch { what: &'static str, expected: String, arrived: String },
    /// The stream ended without a commit message.
    #[error("the stream ended without a commit; the batch was discarded: send it again")]
    Incomplete,
    /// The header did not arrive in time.
    #[error("no header arrived within {seconds} seconds; the batch was discarded: send it again")]
    Late { seconds: u64 },
    /// The upload was slower than the minimum throughput.
    #[error(
        "fewer than {bytes} bytes of records arrived within {seconds} seconds; the batch was \
         discarded: send it again"
    )]
    Idle { bytes: u64, seconds: u64 },
    /// The upload exceeded its total timeout.
    #[error("the batch took over {seconds} seconds and was discarded: send it again faster")]
    Slow { seconds: u64 },
    /// The messages are not a header, frames and a commit, in this order.
    #[error("the messages of an upload are one header, frames, one commit; {0}")]
    OutOfOrder(&'static str),
}

/// Number of records by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KindCounts {
    pub(crate) clients: i64,
    pub(crate) contacts: i64,
    pub(crate) addresses: i64,
    pub(crate) unreadable: i64,
}

impl KindCounts {
    /// The total number of records.
    pub(crate) fn records(&self) -> i64 {
        self.clients + self.contacts + self.addresses + self.unreadable
    }

    fn add(&mut self, kind: Kind) {
        let count = match kind {
            Kind::Client => &mut self.clients,
            Kind::Contact => &mut self.contacts,
            Kind::Address => &mut self.addresses,
            Kind::Unknown => &mut self.unreadable,
        };
        *count += 1;
    }
}

/// A complete batch whose content matches its declaration.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) sha256: BatchDigest,
    pub(crate) size_bytes: i64,
    pub(crate) counts: KindCounts,
    /// The encoded records, in order.
    pub(crate) records: Vec<Bytes>,
}

/// The kind of an encoded record, whose fields are not decoded; [`Kind::Unknown`] if it
/// has none.
pub(crate) fn kind_of(record: &[u8]) -> Kind {
    enums::kind_of(wire::import_record_kind(record))
}

/// A batch that is being received.
#[derive(Debug)]
pub(crate) struct BatchReceiver {
    declared: Declared,
    hasher: Sha256,
    size: u64,
    counts: KindCounts,
    records: Vec<Bytes>,
}

impl BatchReceiver {
    /// Starts a batch with the declarations of its header.
    pub(crate) fn new(declared: Declared) -> Result<Self, BatchError> {
        if let Some(size) = declared.size_bytes.filter(|size| *size > MAX_BATCH_BYTES) {
            return Err(BatchError::TooLarge { field: "header.size_bytes", size });
        }
        if let Some(records) = declared.records.filter(|n| *n > MAX_BATCH_RECORDS) {
            return Err(BatchError::TooManyRecords { field: "header.record_count", records });
        }
        let (counts, records) = (KindCounts::default(), Vec::new());
        Ok(Self { declared, hasher: Sha256::new(), size: 0, counts, records })
    }

    /// Adds the records of a frame.
    pub(crate) fn add_frame(&mut self, records: &[Bytes]) -> Result<(), BatchError> {
        let frame: u64 = records.iter().map(size_of).sum();
        if frame > MAX_FRAME_BYTES {
            return Err(BatchError::FrameTooLarge);
        }
        self.size += frame;
        if self.size > MAX_BATCH_BYTES {
            return Err(BatchError::TooLarge { field: "frame.records", size: self.size });
        }
        let total = (self.records.len() + records.len()) as u64;
        if total > MAX_BATCH_RECORDS {
            return Err(BatchError::TooManyRecords { field: "frame.records", records: total });
        }
        for record in compact(records, frame) {
            self.hasher.update(size_of(&record).to_be_bytes());
            self.hasher.update(&record);
            self.counts.add(kind_of(&record));
            self.records.push(record);
        }
        Ok(())
    }

    /// Completes the batch if its content matches the declarations.
    pub(crate) fn commit(self, sha256: Option<BatchDigest>) -> Result<Content, BatchError> {
        let (declared, size) = (self.declared, self.size);
        let records = self.records.len() as u64;
        let digest: BatchDigest = self.hasher.finalize().into();
        compare("size in bytes", declared.size_bytes, size, |size| size.to_string())?;
        compare("number of records", declared.records, records, |n| n.to_string())?;
        compare("SHA-256 of the header", declared.sha256, digest, hex)?;
        compare("SHA-256 of the commit", sha256, digest, hex)?;
        let size_bytes = i64::try_from(size).unwrap_or(i64::MAX);
        Ok(Content { sha256: digest, size_bytes, counts: self.counts, records: self.records })
    }
}

/// Copies the records into one buffer of their own. A decoded record is a slice of the
/// buffer of its message, and would keep that whole buffer, with any padding, in
/// memory.
fn compact(records: &[Bytes], size: u64) -> Vec<Bytes> {
    let mut all = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    for record in records {
        all.extend_from_slice(record);
    }
    let mut all = all.freeze();
    records.iter().map(|record| all.split_to(record.len())).collect()
}

fn size_of(record: &Bytes) -> u64 {
    record.len() as u64
}

fn hex(digest: BatchDigest) -> String {
    digest.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn compare<T: PartialEq>(
    what: &'static str,
    expected: Option<T>,
    arrived: T,
    text: impl Fn(T) -> String,
) -> Result<(), BatchError> {
    match expected {
        Some(expected) if expected != arrived => {
            let (expected, arrived) = (text(expected), text(arrived));
            Err(BatchError::Mismatch { what, expected, arrived })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
