//! The digest of a record key: the id that a product has assigned to a record.
//!
//! The records service stores it in place of the key of an erased record. The imports
//! service compares it with uploaded keys. A short key can be guessed from its digest.

use std::ops::Deref;

use sha2::{Digest as _, Sha256};

use crate::caller::PracticeId;
use concord_proto::pb::imports::ImportRecordKind;

/// SHA-256 of practice, product, account, kind and id, each with a 64-bit big-endian length
/// prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of the id that an account of a product has assigned to a record.
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

    /// Reads the 32 bytes of a digest; `None` for another length.
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
    fn digest_depends_on_every_part_of_the_key() {
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
