//! Changes: what the other products are told, and what the audit keeps.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use shared::{caller::Caller, pb::records::ChangeKind};
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
    /// The entry, when it was about one.
    pub(crate) entry_id: Option<Uuid>,
    /// Records whose images go with the event: the person of a contact, the
    /// contacts that an import created with a person.
    pub(crate) companions: Vec<RecordRef>,
    /// The records that it belongs to, whose links count as links to it: the
    /// client and the person of a contact, the clients of a new person.
    pub(crate) within: Vec<Uuid>,
    /// Whether the record was created by the same transaction: then no other
    /// product can be linked to it.
    pub(crate) new_record: bool,
    /// The paths of the fields that changed; empty for a new record.
    pub(crate) changed_fields: Vec<String>,
    /// For the audit alone: the values before and after.
    pub(crate) before: Option<Json>,
    pub(crate) after: Option<Json>,
}

impl Change {
    /// The change that created a record.
    pub(crate) fn created(id: Uuid, record: RecordRef) -> Self {
        Self { new_record: true, ..Self::new(id, record, 1, ChangeKind::Created) }
    }

    /// A change of a record that was there before.
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

    /// The same with records whose images go with it.
    pub(crate) fn with(self, companions: impl IntoIterator<Item = RecordRef>) -> Self {
        Self { companions: companions.into_iter().collect(), ..self }
    }

    /// The same of a record that belongs to others.
    pub(crate) fn within(self, records: impl IntoIterator<Item = Uuid>) -> Self {
        Self { within: records.into_iter().collect(), ..self }
    }

    /// The same, about an entry.
    pub(crate) fn of_entry(self, entry: Uuid) -> Self {
        Self { entry_id: Some(entry), ..self }
    }
}

/// Who makes the changes of a transaction, when, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authorship<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) now: DateTime<Utc>,
    pub(crate) request_id: Option<Uuid>,
    /// What the caller said; empty when it said nothing.
    pub(crate) reason: &'a str,
}
