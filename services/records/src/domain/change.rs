//! Changes: what the feed delivers to the other products and the audit keeps.

use chrono::{DateTime, Utc};
use concord_core::caller::Caller;
use concord_proto::pb::records::ChangeKind;
use serde_json::Value as Json;
use uuid::Uuid;

use super::record::RecordRef;

/// One change of one record, not yet written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) id: Uuid,
    pub(crate) record: RecordRef,
    /// The version of the record after the change.
    pub(crate) version: i64,
    pub(crate) kind: ChangeKind,
    /// The entry that changed, if it is a change of an entry.
    pub(crate) entry_id: Option<Uuid>,
    /// Records whose images go with the event: the person of a contact, the
    /// contacts that an import created with a person.
    pub(crate) companions: Vec<RecordRef>,
    /// The records that the changed record belongs to. Their links count as links to it: the
    /// client and the person of a contact, the clients of a new person.
    pub(crate) within: Vec<Uuid>,
    /// True if the record was created by the same transaction: then no other product can
    /// be linked to it.
    pub(crate) new_record: bool,
    /// The paths of the fields that changed; empty for a new record.
    pub(crate) changed_fields: Vec<String>,
    /// The values before and after, for the audit only.
    pub(crate) before: Option<Json>,
    pub(crate) after: Option<Json>,
}

impl Change {
    /// The change that created a record.
    pub(crate) fn created(id: Uuid, record: RecordRef) -> Self {
        Self { new_record: true, ..Self::new(id, record, 1, ChangeKind::Created) }
    }

    /// A change of a record that existed before.
    pub(crate) fn new(id: Uuid, record: RecordRef, version: i64, kind: ChangeKind) -> Self {
        Self {
            id,
            record,
            version,
            kind,
            entry_id: None,
            companions: Vec::new(),
            within: Vec::new(),
            new_record: false,
            changed_fields: Vec::new(),
            before: None,
            after: None,
        }
    }

    /// Sets the records whose images go with the event.
    pub(crate) fn with(self, companions: impl IntoIterator<Item = RecordRef>) -> Self {
        Self { companions: companions.into_iter().collect(), ..self }
    }

    /// Sets the records that the changed record belongs to.
    pub(crate) fn within(self, records: impl IntoIterator<Item = Uuid>) -> Self {
        Self { within: records.into_iter().collect(), ..self }
    }

    /// Sets the entry that changed.
    pub(crate) fn of_entry(self, entry: Uuid) -> Self {
        Self { entry_id: Some(entry), ..self }
    }
}

/// The author of the changes of a transaction, with their time and reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authorship<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) now: DateTime<Utc>,
    pub(crate) request_id: Option<Uuid>,
    /// The reason of the caller; empty when none was given.
    pub(crate) reason: &'a str,
}
