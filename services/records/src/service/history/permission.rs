//! Who may change the past: the roles that a correction needs.

use concord_core::{
    access::Role,
    caller::Caller,
    ids::{self, IdKind},
    status::ApiError,
};
use concord_proto::pb::records::{ChangeKind, ErrorReason};
use serde_json::Value as Json;
use tonic::Code;
use uuid::Uuid;

use super::{
    answer::to_api_error,
    command::{HistoryCommand, with_dates},
    write::{ACTIVE_FROM, ACTIVE_TO},
};
use crate::{
    domain::{
        record::RecordRef,
        timeline::{CorrectEntry, Decision, StatusCorrection, Timeline},
    },
    error::RecordError,
    service::unit_of_work::UnitOfWork,
    store::audit::{self, AuditRow},
};

/// Checks the role for a correction of a past entry: owner or admin.
pub(super) fn check_role(caller: &Caller, command: &HistoryCommand) -> Result<(), ApiError> {
    let HistoryCommand::Correct { command: CorrectEntry { correct_history: true, .. }, .. } =
        command
    else {
        return Ok(());
    };
    if is_owner_or_admin(caller) {
        return Ok(());
    }
    let text = "correct_history needs one of the roles owner, admin; leave it out when the entry \
        has not ended";
    Err(role_not_allowed(text))
}

fn is_owner_or_admin(caller: &Caller) -> bool {
    caller.roles.iter().any(|role| matches!(role, Role::Owner | Role::Admin))
}

fn role_not_allowed(text: impl Into<String>) -> ApiError {
    ApiError::new(Code::PermissionDenied, ErrorReason::RoleNotAllowed, text)
}

/// Checks whether the caller may change the past as decided. Only owners and admins may
/// correct a status that another product set, and shorten a past entry by `trim`.
pub(super) async fn check_past(
    work: &UnitOfWork,
    record: RecordRef,
    timeline: &Timeline,
    command: &HistoryCommand,
    decision: &Decision,
) -> Result<(), RecordError> {
    if is_owner_or_admin(&work.caller) {
        return Ok(());
    }
    match command {
        HistoryCommand::AddPast { .. } => {
            let Some(past) = timeline.redated_past_entry(decision) else { return Ok(()) };
            let past = ids::text(IdKind::Entry, past);
            let text = format!(
                "trim would shorten {past}, which is past: ask an owner or admin, or give dates \
                 that do not overlap it"
            );
            Err(role_not_allowed(text).with("entries", past).into())
        }
        HistoryCommand::Correct { command, dates, .. } => {
            let command =
                with_dates(timeline, command, *dates).map_err(|error| to_api_error(&error))?;
            let status_correction =
                timeline.status_correction(&command).map_err(|error| to_api_error(&error))?;
            let Some(status_correction) = status_correction else { return Ok(()) };
            if status_correction.is_last
                && is_own_status_change(work, record, command.id, status_correction).await?
            {
                return Ok(());
            }
            let entry = ids::text(IdKind::Entry, command.id);
            let text = format!(
                "whether {entry} has ended or begun is corrected by staff of the product that \
                 said so, while no other entry follows: ask an owner or admin to call \
                 CorrectEntry, or call AddEntry when the world changed"
            );
            Err(role_not_allowed(text).with("entries", entry).into())
        }
        _ => Ok(()),
    }
}

/// True if the caller's product made the changes that the correction reverts.
async fn is_own_status_change(
    work: &UnitOfWork,
    record: RecordRef,
    entry: Uuid,
    status_correction: StatusCorrection,
) -> Result<bool, RecordError> {
    let changes = audit::of_entries(work.db(), record.id).await?;
    let own = |field: &str| {
        let set = changes.iter().find(|row| set_date(row, entry, field));
        set.is_some_and(|row| row.product == work.caller.product.as_str())
    };
    Ok((!status_correction.ended || own(ACTIVE_TO))
        && (!status_correction.begun || own(ACTIVE_FROM)))
}

/// True if a change set the date `field` of an entry. The latest such change gave the
/// entry its present date.
fn set_date(row: &AuditRow, entry: Uuid, field: &str) -> bool {
    let created = matches!(
        row.kind,
        ChangeKind::Created | ChangeKind::EntryAdded | ChangeKind::EntryScheduled
    );
    if created && row.entry_id.is_none_or(|id| id == entry) {
        return true;
    }
    let date = |values: &Option<String>| {
        let values: Json = serde_json::from_str(values.as_deref()?).ok()?;
        let id = ids::text(IdKind::Entry, entry);
        let mut entries = values.get("entries")?.as_array()?.iter();
        let entry = entries.find(|entry| entry.get("id").and_then(Json::as_str) == Some(&id))?;
        Some(entry.get(field)?.as_str()?.to_owned())
    };
    date(&row.after).is_some_and(|after| date(&row.before) != Some(after))
}
