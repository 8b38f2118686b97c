//! The digest by which two records of one key are told to be the same.

use sha2::{Digest as _, Sha256};

use crate::{
    pb::imports::ImportRecordKind,
    rules::text::{is_blank, normalise_id},
};

/// A record in its canonical form: the number of each field that is not blank,
/// the length of its normalised text, and that text. A field that is added to
/// the protocol later leaves the digests of records without it as they are.
pub(super) struct Canonical(Sha256);

impl Canonical {
    /// Begins a record.
    pub(super) fn new(kind: ImportRecordKind) -> Self {
        let mut canonical = Self(Sha256::new());
        canonical.number(kind as u64);
        canonical
    }

    /// Adds a field by its number in the protocol.
    pub(super) fn field(&mut self, number: u64, text: &str) {
        if !is_blank(text) {
            self.number(number);
            self.value(text);
        }
    }

    /// Adds one of several values, which may be blank.
    pub(super) fn value(&mut self, text: &str) {
        self.bytes(normalise_id(text).as_bytes());
    }

    /// Adds the number of a field, or how many values follow.
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

/// The digest of a record that could not be read.
pub(super) fn of_bytes(bytes: &[u8]) -> [u8; 32] {
    let mut canonical = Canonical::new(ImportRecordKind::Unspecified);
    canonical.bytes(bytes);
    canonical.finish()
}
