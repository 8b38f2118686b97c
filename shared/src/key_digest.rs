//! The digest of a key: an id that a product has given to a record.
//!
//! The records service keeps it in the place of the key of a record that was erased, and
//! the imports service compares it with the keys that were uploaded. A short key can be
//! guessed from its digest.

use std::ops::Deref;

use sha2::{Digest as _, Sha256};

use crate::{caller::PracticeId, pb::imports::ImportRecordKind};

/// SHA-256 of practice, product, account, kind and id, each after its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of the id that an account of a product has given to a record.
    pub fn of(
        practice: &PracticeId,
        (product, account): (&str, &str),
        kind: ImportRecordKind,
        source_id: &str,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in [practice.as_str(), product, account, kind.as_str_name(), source_id] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            hash.update(length.to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }

    /// Reads the bytes of a digest; none when they are not 32.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl Deref for KeyDigest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_in_any_part_have_different_digests() {
        let practice: PracticeId = "p1".parse().unwrap();
        let of =
            |account: (&str, &str), kind, id: &str| KeyDigest::of(&practice, account, kind, id);
        let client = ImportRecordKind::Client;
        let digest = of(("books", "main"), client, "C1");
        assert_eq!(KeyDigest::read(&digest), Some(digest));
        for other in [
            of(("book", "smain"), client, "C1"),
            of(("books", "mainC"), client, "1"),
            of(("books", "main"), ImportRecordKind::Contact, "C1"),
            KeyDigest::of(&"p2".parse().unwrap(), ("books", "main"), client, "C1"),
        ] {
            assert_ne!(other, digest);
        }
    }
}
