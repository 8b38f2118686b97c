//! The record and the timeline of a command. The record is a client or a person, named by
//! the command or by one of its entries.

use concord_core::{
    ids::{self, IdKind},
    status::ApiError,
};
use concord_proto::pb::records::ErrorReason;
use uuid::Uuid;

use super::command::HistoryCommand;
use crate::{
    domain::{
        record::{Client, Person, RecordRef},
        timeline::{CancelScheduledEntry, CorrectEntry, EndEntry, RescindEntry, TimelineKey},
    },
    error::RecordError,
    service::{open::Open, resolve, subject::Subject, unit_of_work::UnitOfWork},
    store::entries,
};

/// The record of a command, in any state.
pub(super) async fn record_of(
    work: &UnitOfWork,
    command: &HistoryCommand,
) -> Result<RecordRef, RecordError> {
    let id = match command {
        HistoryCommand::Add { record, .. } | HistoryCommand::AddPast { record, .. } => {
            return resolve::client_or_person(work.db(), "record", record).await;
        }
        HistoryCommand::Correct { command: CorrectEntry { id, .. }, .. }
        | HistoryCommand::End(EndEntry { id, .. }, _)
        | HistoryCommand::Cancel(CancelScheduledEntry { id }, _)
        | HistoryCommand::Rescind(RescindEntry { id }, _) => *id,
    };
    let owner = entries::owner(work.db(), id).await?.ok_or_else(|| missing(id))?;
    if Client::lock(work, owner).await?.is_some() {
        Ok(RecordRef::client(owner))
    } else if Person::lock(work, owner).await?.is_some() {
        Ok(RecordRef::person(owner))
    } else {
        Err(missing(id).into())
    }
}

/// The timeline of a command, which the record must have.
pub(super) fn timeline_of(
    open: &Open<impl Subject>,
    command: &HistoryCommand,
) -> Result<TimelineKey, ApiError> {
    match command {
        HistoryCommand::Add { timeline, .. } | HistoryCommand::AddPast { timeline, .. } => {
            let Some(text) = open.subject.refusal(*timeline) else { return Ok(*timeline) };
            Err(ApiError::invalid_field("timeline", ErrorReason::FieldNotApplicable, text))
        }
        HistoryCommand::Correct { command: CorrectEntry { id, .. }, .. }
        | HistoryCommand::End(EndEntry { id, .. }, _)
        | HistoryCommand::Cancel(CancelScheduledEntry { id }, _)
        | HistoryCommand::Rescind(RescindEntry { id }, _) => {
            let entry = open.entries.iter().find(|entry| entry.id == *id);
            Ok(entry.ok_or_else(|| missing(*id))?.timeline)
        }
    }
}

fn missing(entry: Uuid) -> ApiError {
    ApiError::not_found("entry", &ids::text(IdKind::Entry, entry))
}

/// Checks that a removed record has no entries: they would stay due forever.
pub(super) async fn check_no_entries(work: &UnitOfWork, owner: Uuid) -> Result<(), RecordError> {
    let left = entries::of_owners(work.db(), &[owner]).await?;
    let corrupt = RecordError::Corrupt("an entry without its record");
    if left.is_empty() { Ok(()) } else { Err(corrupt) }
}
