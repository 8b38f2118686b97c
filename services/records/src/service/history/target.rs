//! The record of a command: a client or a person, opened by its name or by one of its
//! entries.

use concord_core::{
    ids::{self, IdKind},
    status::ApiError,
};
use concord_proto::pb::records::{self as pb, ClientType, ErrorReason};
use uuid::Uuid;

use super::command::HistoryCommand;
use crate::{
    domain::{
        record::{RecordMeta, RecordRef},
        timeline::{
            CancelScheduledEntry, CorrectEntry, EndEntry, Entry, RescindEntry, TimelineKey,
        },
    },
    error::RecordError,
    service::{
        open::{self, OpenClient, OpenPerson},
        resolve,
        save::{self, Names},
        unit_of_work::UnitOfWork,
    },
    store::entries,
};

/// An opened client or person.
pub(super) enum Open {
    Client(OpenClient),
    Person(OpenPerson),
}

impl Open {
    pub(super) fn record(&self) -> RecordRef {
        match self {
            Self::Client(open) => RecordRef::client(open.client.id),
            Self::Person(open) => RecordRef::person(open.person.id),
        }
    }

    pub(super) fn entries(&mut self) -> &mut Vec<Entry> {
        match self {
            Self::Client(open) => &mut open.entries,
            Self::Person(open) => &mut open.entries,
        }
    }

    pub(super) fn meta(&mut self) -> &mut RecordMeta {
        match self {
            Self::Client(open) => &mut open.client.meta,
            Self::Person(open) => &mut open.person.meta,
        }
    }

    /// The record whose image goes with a change of this one.
    pub(super) fn companions(&self) -> Option<RecordRef> {
        match self {
            Self::Client(open) => open.client.person_id.map(RecordRef::person),
            Self::Person(_) => None,
        }
    }

    pub(super) fn etag(&self, work: &UnitOfWork) -> String {
        match self {
            Self::Client(open) => open.image(work).etag,
            Self::Person(open) => open.image(work).etag,
        }
    }

    pub(super) async fn save(self, work: &UnitOfWork, names: Names) -> Result<(), RecordError> {
        match self {
            Self::Client(open) => save::client(work, open, names).await.map(drop),
            Self::Person(open) => save::person(work, open, names).await.map(drop),
        }
    }
}

/// Opens the record of the command. Returns the key of the timeline too.
pub(super) async fn open_for(
    work: &UnitOfWork,
    command: &HistoryCommand,
) -> Result<(Open, TimelineKey), RecordError> {
    match command {
        HistoryCommand::Add { record, timeline, .. }
        | HistoryCommand::AddPast { record, timeline, .. } => {
            let open = open_named(work, record).await?;
            check_timeline(&open, *timeline)?;
            Ok((open, *timeline))
        }
        HistoryCommand::Correct { command: CorrectEntry { id, .. }, .. }
        | HistoryCommand::End(EndEntry { id, .. }, _)
        | HistoryCommand::Cancel(CancelScheduledEntry { id }, _)
        | HistoryCommand::Rescind(RescindEntry { id }, _) => open_entry(work, *id).await,
    }
}

async fn open_named(work: &UnitOfWork, name: &str) -> Result<Open, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    let record = resolve::client_or_person(db, practice, "record", name).await?;
    let text = record.text();
    match record.kind {
        pb::RecordKind::Person => {
            Ok(Open::Person(open::linked_person(work, "record", &text).await?))
        }
        _ => Ok(Open::Client(open::linked_client(work, "record", &text).await?)),
    }
}

/// The record of an entry, and the entry's timeline.
async fn open_entry(work: &UnitOfWork, id: Uuid) -> Result<(Open, TimelineKey), RecordError> {
    let missing = || ApiError::not_found("entry", &ids::text(IdKind::Entry, id));
    let owner = entries::owner(work.db(), &work.caller.practice, id).await?;
    let owner = owner.ok_or_else(missing)?;
    let client = RecordRef::client(owner).text();
    let mut open = match open_by_id(work, owner).await?.ok_or_else(missing)? {
        Open::Client(_) => Open::Client(open::linked_client(work, "entry", &client).await?),
        Open::Person(_) => {
            let person = RecordRef::person(owner).text();
            Open::Person(open::linked_person(work, "entry", &person).await?)
        }
    };
    let entry = open.entries().iter().find(|entry| entry.id == id);
    let key = entry.ok_or_else(missing)?.timeline;
    Ok((open, key))
}

pub(super) async fn open_by_id(
    work: &UnitOfWork,
    owner: Uuid,
) -> Result<Option<Open>, RecordError> {
    if let Some(open) = open::client_by_id(work, owner).await? {
        return Ok(Some(Open::Client(open)));
    }
    Ok(open::person_by_id(work, owner).await?.map(Open::Person))
}

/// Checks that a removed record has no entries: they would stay due forever.
pub(super) async fn check_no_entries(work: &UnitOfWork, owner: Uuid) -> Result<(), RecordError> {
    let left = entries::of_owners(work.db(), &work.caller.practice, &[owner]).await?;
    let corrupt = RecordError::Corrupt("an entry without its record");
    if left.is_empty() { Ok(()) } else { Err(corrupt) }
}

/// Checks that the record has the timeline.
fn check_timeline(open: &Open, key: TimelineKey) -> Result<(), ApiError> {
    let text = match (open, key) {
        (Open::Client(open), TimelineKey::RegisteredName)
            if open.client.client_type == ClientType::Individual =>
        {
            "the name of an individual is that of its person; name the person as record"
        }
        (Open::Client(_), TimelineKey::PersonName) => {
            "a client has no person's name; name the person as record"
        }
        (Open::Person(_), TimelineKey::RegisteredName | TimelineKey::TradingName) => {
            "a person has no registered or trading name; use PERSON_NAME"
        }
        _ => return Ok(()),
    };
    Err(ApiError::invalid_field("timeline", ErrorReason::FieldNotApplicable, text))
}
