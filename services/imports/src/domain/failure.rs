//! The failures of records, as they are stored and listed.
//!
//! The texts are not here: those between records are in [`issue`](super::issue), and those
//! of one field in [`concord_core::rules`].

use super::{
    enums::{Kind, Status},
    import::RowId,
    issue::RecordIssue,
};

/// One failure.
#[derive(Clone, Debug)]
pub(crate) struct FailureRow {
    pub(crate) at: RowId,
    pub(crate) ordinal: i64,
    pub(crate) kind: Kind,
    /// Empty if the record has no key.
    pub(crate) source_id: String,
    pub(crate) status: Status,
    /// The round in which the record was last processed.
    pub(crate) round: i64,
    pub(crate) issue: RecordIssue,
}

/// A failure, as it is returned to callers.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) row: FailureRow,
    pub(crate) source_id: String,
    pub(crate) record_name: String,
    pub(crate) client_reference: String,
    pub(crate) batch_key: String,
}

impl Failure {
    /// The approximate size in a response, in bytes.
    pub(crate) fn size(&self) -> usize {
        let RecordIssue { field, reason, text, root_cause, severity: _ } = &self.row.issue;
        let texts = [field, reason, text, root_cause, &self.source_id, &self.record_name];
        let more = [&self.client_reference, &self.batch_key];
        texts.into_iter().chain(more).map(String::len).sum()
    }
}
