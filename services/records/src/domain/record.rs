//! Clients, persons and contacts.

use chrono::{DateTime, NaiveDate, Utc};
use concord_core::{
    ids::{self, IdKind},
    rules::draft::{Identifiers, Reference},
};
use concord_proto::pb::records::{ClientType, Jurisdiction, RecordKind, RecordState, Role};
use uuid::Uuid;

/// The kind and id of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RecordRef {
    pub(crate) kind: RecordKind,
    pub(crate) id: Uuid,
}

impl RecordRef {
    pub(crate) fn client(id: Uuid) -> Self {
        Self { kind: RecordKind::Client, id }
    }

    pub(crate) fn person(id: Uuid) -> Self {
        Self { kind: RecordKind::Person, id }
    }

    pub(crate) fn contact(id: Uuid) -> Self {
        Self { kind: RecordKind::Contact, id }
    }

    /// The id as text, `cli_…`.
    pub(crate) fn text(self) -> String {
        ids::text(id_kind(self.kind), self.id)
    }

    /// Parses an id of any kind of record.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [RecordKind::Client, RecordKind::Person, RecordKind::Contact]
            .into_iter()
            .find_map(|kind| ids::parse(id_kind(kind), text).map(|id| Self { kind, id }))
    }
}

/// The prefix of the ids of a kind of record.
pub(crate) fn id_kind(kind: RecordKind) -> IdKind {
    match kind {
        RecordKind::Person => IdKind::Person,
        RecordKind::Contact => IdKind::Contact,
        RecordKind::Client | RecordKind::Unspecified => IdKind::Client,
    }
}

/// Metadata of a record: state, version and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordMeta {
    pub(crate) state: RecordState,
    /// Incremented by every change.
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    /// When an orphaned record is purged.
    pub(crate) purge_at: Option<DateTime<Utc>>,
}

impl RecordMeta {
    /// Metadata of a new record.
    pub(crate) fn new(now: DateTime<Utc>) -> Self {
        Self {
            state: RecordState::Active,
            version: 1,
            created_at: now,
            updated_at: now,
            purge_at: None,
        }
    }

    /// Metadata after the removal of the last link.
    pub(crate) fn orphaned(self, now: DateTime<Utc>, purge_at: DateTime<Utc>) -> Self {
        let meta = self.changed(now);
        Self { state: RecordState::Orphaned, purge_at: Some(purge_at), ..meta }
    }

    /// Metadata after an orphaned record was linked again.
    pub(crate) fn restored(self, now: DateTime<Utc>) -> Self {
        Self { state: RecordState::Active, purge_at: None, ..self.changed(now) }
    }

    /// Metadata after a change.
    pub(crate) fn changed(self, now: DateTime<Utc>) -> Self {
        Self { version: self.version + 1, updated_at: now, ..self }
    }
}

/// A business or an individual that the practice acts for, without its
/// timelines.
#[expect(clippy::struct_field_names, reason = "`type` alone is a keyword")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) id: Uuid,
    pub(crate) client_type: ClientType,
    pub(crate) jurisdiction: Jurisdiction,
    pub(crate) reference: Reference,
    /// The person of an individual.
    pub(crate) person_id: Option<Uuid>,
    pub(crate) identifiers: Identifiers,
    pub(crate) emails: Vec<String>,
    pub(crate) phones: Vec<String>,
    pub(crate) meta: RecordMeta,
}

/// A human being, without the timelines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) birth_date: Option<NaiveDate>,
    pub(crate) nino: Option<String>,
    pub(crate) ppsn: Option<String>,
    pub(crate) emails: Vec<String>,
    pub(crate) phones: Vec<String>,
    pub(crate) meta: RecordMeta,
}

/// A role with its dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldRole {
    /// Identifies the role in its contact; starts at 1, never reused.
    pub(crate) number: i32,
    pub(crate) role: Role,
    pub(crate) appointed_on: Option<NaiveDate>,
    pub(crate) resigned_on: Option<NaiveDate>,
}

impl HeldRole {
    /// Roles of a new contact, with unknown dates.
    pub(crate) fn undated(roles: &[Role]) -> Vec<Self> {
        let held = |(role, number): (&Role, i32)| Self {
            number,
            role: *role,
            appointed_on: None,
            resigned_on: None,
        };
        roles.iter().zip(1..).map(held).collect()
    }
}

/// A contact: a person at a client, with roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) id: Uuid,
    pub(crate) client_id: Uuid,
    pub(crate) person_id: Uuid,
    pub(crate) roles: Vec<HeldRole>,
    pub(crate) is_primary: bool,
    pub(crate) meta: RecordMeta,
}
