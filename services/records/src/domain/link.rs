//! Links of products to records.

use chrono::{DateTime, Utc};
use concord_core::caller::{Account, Product};
use concord_proto::pb::imports::ImportRecordKind;
use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

/// The kind of the linked object. Links to clients and persons prevent that a record is
/// orphaned. Links to entries let an import recognise an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE")]
pub(crate) enum LinkKind {
    Client,
    Person,
    Entry,
}

impl LinkKind {
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    /// The kind of imported record that creates links of this kind.
    pub(crate) fn imported(self) -> ImportRecordKind {
        match self {
            Self::Client => ImportRecordKind::Client,
            Self::Person => ImportRecordKind::Contact,
            Self::Entry => ImportRecordKind::Address,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// What an import did when it created a link. Stored to make chunks idempotent: a chunk
/// that is sent again gets the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE")]
pub(crate) enum ImportOutcome {
    /// It created the record.
    Imported,
    /// It linked an existing record.
    Linked,
}

impl ImportOutcome {
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A link of one account of a product to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) product: Product,
    pub(crate) account: Account,
    pub(crate) kind: LinkKind,
    /// The product's own id of the record.
    pub(crate) external_id: String,
    pub(crate) record_id: Uuid,
    /// The import that created it, and what the import did.
    pub(crate) import: Option<(Uuid, ImportOutcome)>,
    pub(crate) linked_at: DateTime<Utc>,
    pub(crate) linked_by: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The strings are in databases.
    #[test]
    fn stored_strings_are_fixed() {
        use ImportOutcome::{Imported, Linked};
        use LinkKind::{Client, Entry, Person};
        for (kind, text) in [(Client, "CLIENT"), (Person, "PERSON"), (Entry, "ENTRY")] {
            assert_eq!((kind.as_str(), LinkKind::parse(text)), (text, Some(kind)));
        }
        for (outcome, text) in [(Imported, "IMPORTED"), (Linked, "LINKED")] {
            assert_eq!((outcome.as_str(), ImportOutcome::parse(text)), (text, Some(outcome)));
        }
        assert_eq!(LinkKind::parse("client"), None);
    }
}
