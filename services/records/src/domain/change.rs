//! Changes: what the other products are told.

use shared::pb::records::ChangeKind;
use uuid::Uuid;

use super::record::RecordRef;

/// One change of one record, not yet written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) id: Uuid,
    pub(crate) record: RecordRef,
    /// The version that it gave the record.
    pub(crate) version: i64,
    pub(crate) kind: ChangeKind,
    /// The entry, when one was added.
    pub(crate) entry_id: Option<Uuid>,
    /// Records whose images go with the event: the person of a contact, the
    /// contacts that an import created with a person.
    pub(crate) companions: Vec<RecordRef>,
    /// Whether the record was created by the same transaction: then no other
    /// product can be linked to it.
    pub(crate) new_record: bool,
}
