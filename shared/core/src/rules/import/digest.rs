//! The digest of a record, which detects identical records with one key.

use sha2::{Digest as _, Sha256};

use crate::rules::text::{is_blank, normalise_id};
use concord_proto::pb::imports::ImportRecordKind;

/// Hashes the canonical form of a record: for each field that is not blank, its number, the
/// length of its normalised text as a 64-bit big-endian prefix, and the text. A field that
/// is added to the protocol later does not change the digests of records without it.
pub(super) struct Canonical(Sha256);

impl Canonical {
    /// Starts a record.
    pub(super) fn new(kind: ImportRecordKind) -> Self {
        let mut canonical = Self(Sha256::new());
        canonical.number(kind as u64);
        canonical
    }

    /// Adds a field, unless it is blank.
    pub(super) fn field(&mut self, number: u64, text: &str) {
        if !is_blank(text) {
            self.number(number);
            self.value(text);
        }
    }

    /// Adds a value of a repeated field. It may be blank.
    pub(super) fn value(&mut self, text: &str) {
        self.bytes(normalise_id(text).as_bytes());
    }

    /// Adds a field number or the number of values that follow.
    pub(super) fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// The digest.
    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The digest of a record that cannot be decoded.
pub(super) fn of_bytes(bytes: &[u8]) -> [u8; 32] {
    let mut canonical = Canonical::new(ImportRecordKind::Unspecified);
    canonical.bytes(bytes);
    canonical.finish()
}
