//! Ids of records: opaque text with a prefix, ordered by the time of creation.
//!
//! An id is a version 7 UUID, written as its prefix and 32 hexadecimal digits:
//! `cli_0197f3b2c4d87c1e9a4b3c2d1e0f9a8b`. The databases store the UUID without the prefix.

use strum::Display;
use uuid::Uuid;

/// The kinds of objects that have an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display)]
#[strum(serialize_all = "lowercase")]
pub enum IdKind {
    /// A client, `cli_`.
    Client,
    /// A person, `per_`.
    Person,
    /// A contact, `con_`.
    Contact,
    /// An entry of a timeline, `ent_`.
    Entry,
    /// A change, `chg_`.
    Change,
    /// A transaction, `txn_`.
    Transaction,
    /// An import, `imp_`.
    Import,
}

impl IdKind {
    /// The prefix of an id of this kind.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Client => "cli_",
            Self::Person => "per_",
            Self::Contact => "con_",
            Self::Entry => "ent_",
            Self::Change => "chg_",
            Self::Transaction => "txn_",
            Self::Import => "imp_",
        }
    }
}

/// Generates a UUID. Later ones are greater.
pub fn new_uuid() -> Uuid {
    #[expect(clippy::disallowed_methods, reason = "the only place that generates one")]
    Uuid::now_v7()
}

/// A random byte for jitter: the last of a new UUID.
pub fn random_byte() -> u8 {
    let [.., byte] = *new_uuid().as_bytes();
    byte
}

/// An id as text, `cli_…`.
pub fn text(kind: IdKind, uuid: Uuid) -> String {
    format!("{}{}", kind.prefix(), uuid.as_simple())
}

/// Parses an id of this kind in the form of [`text()`].
pub fn parse(kind: IdKind, text: &str) -> Option<Uuid> {
    let digits = text.strip_prefix(kind.prefix())?;
    let plain = digits.len() == 32
        && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if plain { Uuid::try_parse(digits).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_parses_as_its_own_kind_only() {
        let uuid = new_uuid();
        let id = text(IdKind::Client, uuid);
        assert_eq!(parse(IdKind::Client, &id), Some(uuid));
        assert_eq!(parse(IdKind::Person, &id), None);
    }

    #[test]
    fn non_canonical_id_is_rejected() {
        let id = text(IdKind::Client, new_uuid());
        assert_eq!(parse(IdKind::Client, &id.to_uppercase()), None);
        assert_eq!(parse(IdKind::Client, &format!("{id}0")), None);
        assert_eq!(parse(IdKind::Client, "cli_"), None);
        assert_eq!(parse(IdKind::Client, "cli_é"), None);
    }

    #[test]
    fn ids_are_ordered_by_creation() {
        let ids: Vec<_> = (0..100).map(|_| text(IdKind::Entry, new_uuid())).collect();
        assert!(ids.is_sorted());
    }
}
