//! Possible duplicates: records with a match key in common. They are reported to users
//! and never merged.

use super::{enums::Kind, import::RowId};

/// Another record that an imported record may duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PossibleDuplicate {
    /// The match field that is equal in both.
    pub(crate) field: String,
    pub(crate) other: OtherRecord,
}

/// The other record, as it was at the time of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherRecord {
    pub(crate) kind: Kind,
    /// Empty for a record of the same import in a dry run.
    pub(crate) record_id: String,
    /// The source id by which the product of the import links to it; empty if it is not
    /// linked.
    pub(crate) source_id: String,
    pub(crate) name: String,
    pub(crate) reference: String,
}

/// A possible duplicate of an imported record, with the position of that record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DuplicateRow {
    pub(crate) at: RowId,
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
    pub(crate) duplicate: PossibleDuplicate,
}
