//! A batch while it arrives: counted, hashed and checked as it comes, so that
//! nothing over a limit is ever held.

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use shared::{
    pb::imports::{ImportRecord, import_record},
    wire,
};

use super::words::Kind;

/// The records of a batch together, in bytes.
pub(crate) const MAX_BATCH_BYTES: u64 = 10_485_760;
/// Records in a batch.
pub(crate) const MAX_BATCH_RECORDS: u64 = 50_000;
// Decoding keeps enough of a frame to refuse it.
const _: () = assert!(wire::MAX_FRAME_RECORDS as u64 > MAX_BATCH_RECORDS);

/// The records of a frame together, in bytes.
pub(crate) const MAX_FRAME_BYTES: u64 = 1_048_576;
/// One record, in bytes. One that is larger, and fits a frame, fails alone.
pub(crate) const MAX_RECORD_BYTES: u64 = 65_536;
/// Characters of a batch key.
pub(crate) const MAX_BATCH_KEY: usize = 100;

/// SHA-256 over the records, each after its length as eight bytes, big end
/// first.
pub(crate) type BatchDigest = [u8; 32];

/// What the header of a batch says of its content.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Declared {
    /// The digest.
    pub(crate) sha256: Option<BatchDigest>,
    /// The sum of the records' sizes in bytes.
    pub(crate) size_bytes: Option<u64>,
    /// The number of records.
    pub(crate) records: Option<u64>,
}

/// Why a batch is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchFault {
    /// Over the limit; `field` says where that shows.
    #[error("a batch is {MAX_BATCH_BYTES} bytes at most, and this one has {size}: split it")]
    TooLarge { field: &'static str, size: u64 },
    /// Over the limit; `field` says where that shows.
    #[error("a batch is {MAX_BATCH_RECORDS} records at most, and this one has {records}: split it")]
    TooManyRecords { field: &'static str, records: u64 },
    /// A frame is over the limit.
    #[error("a frame is {MAX_FRAME_BYTES} bytes of records at most: split it")]
    FrameTooLarge,
    /// What arrived is not what was declared.
    #[error("the {what} differs: {expected} was declared, {arrived} arrived")]
    Mismatch { what: &'static str, expected: String, arrived: String },
    /// The stream ended without a commit.
    #[error("the stream ended without its commit; nothing was kept: send the batch again")]
    Incomplete,
    /// The first message did not come.
    #[error("no header came for {seconds} seconds; nothing was kept: send the batch again")]
    Late { seconds: u64 },
    /// Too little came for a while.
    #[error(
        "fewer than {bytes} bytes of records came in {seconds} seconds; nothing was kept: send \
         the batch again"
    )]
    Idle { bytes: u64, seconds: u64 },
    /// It does not come to its end.
    #[error("the batch took over {seconds} seconds; nothing was kept: send it again in less")]
    Slow { seconds: u64 },
    /// The messages are not header, frames, commit.
    #[error("the messages of an upload are one header, frames, one commit; {0}")]
    OutOfOrder(&'static str),
}

/// How many records of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) clients: i64,
    pub(crate) contacts: i64,
    pub(crate) addresses: i64,
    pub(crate) unreadable: i64,
}

impl Counts {
    /// All of them.
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

/// A whole batch, as it arrived and was found to be what was declared.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) sha256: BatchDigest,
    pub(crate) size_bytes: i64,
    pub(crate) counts: Counts,
    /// The encoded records, in order.
    pub(crate) records: Vec<Bytes>,
}

/// The kind of an encoded record; unknown when it cannot be read or is empty.
pub(crate) fn kind_of(record: &[u8]) -> Kind {
    match ImportRecord::decode(record).map(|record| record.record) {
        Ok(Some(import_record::Record::Client(_))) => Kind::Client,
        Ok(Some(import_record::Record::Contact(_))) => Kind::Contact,
        Ok(Some(import_record::Record::Address(_))) => Kind::Address,
        Ok(None) | Err(_) => Kind::Unknown,
    }
}

/// A batch that is arriving.
#[derive(Debug)]
pub(crate) struct Intake {
    declared: Declared,
    hasher: Sha256,
    size: u64,
    counts: Counts,
    records: Vec<Bytes>,
}

impl Intake {
    /// Begins with what the header says.
    pub(crate) fn new(declared: Declared) -> Result<Self, BatchFault> {
        if let Some(size) = declared.size_bytes.filter(|size| *size > MAX_BATCH_BYTES) {
            return Err(BatchFault::TooLarge { field: "header.size_bytes", size });
        }
        if let Some(records) = declared.records.filter(|n| *n > MAX_BATCH_RECORDS) {
            return Err(BatchFault::TooManyRecords { field: "header.record_count", records });
        }
        let (counts, records) = (Counts::default(), Vec::new());
        Ok(Self { declared, hasher: Sha256::new(), size: 0, counts, records })
    }

    /// Takes the records of a frame.
    pub(crate) fn frame(&mut self, records: &[Bytes]) -> Result<(), BatchFault> {
        let frame: u64 = records.iter().map(size_of).sum();
        if frame > MAX_FRAME_BYTES {
            return Err(BatchFault::FrameTooLarge);
        }
        self.size += frame;
        if self.size > MAX_BATCH_BYTES {
            return Err(BatchFault::TooLarge { field: "frame.records", size: self.size });
        }
        let total = (self.records.len() + records.len()) as u64;
        if total > MAX_BATCH_RECORDS {
            return Err(BatchFault::TooManyRecords { field: "frame.records", records: total });
        }
        for record in compact(records, frame) {
            self.hasher.update(size_of(&record).to_be_bytes());
            self.hasher.update(&record);
            self.counts.add(kind_of(&record));
            self.records.push(record);
        }
        Ok(())
    }

    /// Ends the batch, when all of it is what was declared.
    pub(crate) fn commit(self, sha256: Option<BatchDigest>) -> Result<Content, BatchFault> {
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

/// The records in memory of their own: as they were decoded, each holds on to the
/// whole message that it came in, whatever else that was padded with.
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
) -> Result<(), BatchFault> {
    match expected {
        Some(expected) if expected != arrived => {
            let (expected, arrived) = (text(expected), text(arrived));
            Err(BatchFault::Mismatch { what, expected, arrived })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
