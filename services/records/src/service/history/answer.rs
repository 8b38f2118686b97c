//! The answers and the errors of the commands on timelines.

use concord_core::{
    ids::{self, IdKind},
    status::ApiError,
};
use concord_proto::pb::records::{self as pb, ErrorReason, HistoryOutcome};
use tonic::Code;
use uuid::Uuid;

use crate::{
    domain::timeline::{Decision, Entry, MAX_ENTRIES, Outcome, Timeline, TimelineError},
    image,
    service::unit_of_work::UnitOfWork,
};

/// The answer of a command.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistoryAnswer {
    /// A [`HistoryOutcome`].
    #[prost(enumeration = "HistoryOutcome", tag = "1")]
    pub(crate) outcome: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) entry: Option<pb::Entry>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) moved: Vec<pb::Entry>,
    #[prost(string, repeated, tag = "4")]
    pub(crate) change_ids: Vec<String>,
}

pub(super) fn answer(
    work: &UnitOfWork,
    entries: &[Entry],
    before: &Timeline,
    decision: &Decision,
    change_ids: Vec<String>,
) -> HistoryAnswer {
    let images = image::entries(entries, work.at.today);
    let image_of = |id: Uuid| {
        let text = ids::text(IdKind::Entry, id);
        images.iter().find(|entry| entry.id == text).cloned()
    };
    let moved = before.entries().iter().filter(|entry| {
        Some(entry.id) != decision.entry
            && entries.iter().any(|now| now.id == entry.id && now.period != entry.period)
    });
    HistoryAnswer {
        outcome: outcome(decision.outcome).into(),
        entry: decision.entry.and_then(image_of),
        moved: moved.filter_map(|entry| image_of(entry.id)).collect(),
        change_ids,
    }
}

fn outcome(outcome: Outcome) -> HistoryOutcome {
    match outcome {
        Outcome::NoChange | Outcome::Rollover => HistoryOutcome::NoChange,
        Outcome::Added => HistoryOutcome::Added,
        Outcome::Scheduled => HistoryOutcome::Scheduled,
        Outcome::Corrected | Outcome::DatesChanged => HistoryOutcome::Corrected,
        Outcome::Ended => HistoryOutcome::Ended,
        Outcome::Cancelled => HistoryOutcome::Cancelled,
        Outcome::Rescinded => HistoryOutcome::Rescinded,
    }
}

/// The API error of a timeline error, with the conflicting entries.
pub(super) fn to_api_error(error: &TimelineError) -> ApiError {
    let reason = error.reason();
    let code = match reason {
        ErrorReason::NotFound => Code::NotFound,
        ErrorReason::FieldNotApplicable | ErrorReason::ValueBlank | ErrorReason::PeriodInvalid => {
            Code::InvalidArgument
        }
        _ => Code::FailedPrecondition,
    };
    let entries: Vec<String> =
        error.entries().iter().map(|id| ids::text(IdKind::Entry, *id)).collect();
    let api_error = ApiError::new(code, reason, error.to_string());
    let api_error = entries
        .iter()
        .take(20)
        .fold(api_error, |error, entry| error.precondition(entry, "this entry is in the way"));
    if entries.is_empty() { api_error } else { api_error.with("entries", entries.join(",")) }
}

pub(super) fn too_many_entries() -> ApiError {
    ApiError::new(
        Code::FailedPrecondition,
        ErrorReason::ValueTooLong,
        format!(
            "a record has at most {MAX_ENTRIES} names and addresses; rescind what was never true"
        ),
    )
}
