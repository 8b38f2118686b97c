//! Records that look like another one: told to people, and never merged.

use super::{import::RowId, words::Kind};

/// Another record that an imported one looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PossibleDuplicate {
    /// What is equal.
    pub(crate) field: String,
    pub(crate) other: OtherRecord,
}

/// The other record, as it was when the imported one was compared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherRecord {
    pub(crate) kind: Kind,
    /// Empty when it is a record of this import, and nothing is applied.
    pub(crate) record_id: String,
    /// The import's product knows it by this; empty when it does not.
    pub(crate) source_id: String,
    pub(crate) name: String,
    pub(crate) reference: String,
}

/// A possible duplicate, and the record that looks like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DuplicateRow {
    pub(crate) at: RowId,
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
    pub(crate) duplicate: PossibleDuplicate,
}
