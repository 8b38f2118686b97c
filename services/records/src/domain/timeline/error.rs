//! Errors of timeline commands, with remedies.

use std::fmt;

use chrono::NaiveDate;
use concord_core::{
    ids::{self, IdKind},
    rules::date::{Period, date_text},
};
use concord_proto::pb::records::ErrorReason;
use uuid::Uuid;

use super::limits::MAX_DAYS_AHEAD;

/// Maximum number of entries in a text; [`TimelineError::entries`] returns all.
const MAX_NAMED: usize = 5;

/// Why a timeline rejects an entry or a command. The text contains the remedy, ids and
/// dates, but no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimelineError {
    #[error("the period overlaps {}: choose other dates, or correct those first; a past entry \
        can shorten what it overlaps in part with `trim`", Named(.0))]
    Overlap(Vec<Uuid>),
    #[error("{} is scheduled, and only one change can be: cancel it with CancelScheduledEntry \
        first, or correct it with CorrectEntry", Named(&[*.0]))]
    ScheduledExists(Uuid),
    #[error("the date is more than {MAX_DAYS_AHEAD} days ahead: choose a nearer one")]
    TooFar,
    #[error("{} begins on that very day: when its value is wrong, correct it with CorrectEntry",
        Named(&[*.0]))]
    StartsSameDay(Uuid),
    #[error("the current entry, {}, begins after that day: call AddPastEntry for what held before \
        it, or CorrectEntry when its start is wrong", Named(&[*.0]))]
    BeforeCurrent(Uuid),
    #[error("{} has that value already: when its start is wrong, correct the date with \
        CorrectEntry", Named(&[*.0]))]
    AlreadyCurrent(Uuid),
    #[error("the period would take all days of {}, or pass it by: when it was never \
        true, call RescindEntry first", Named(.0))]
    Covers(Vec<Uuid>),
    #[error("the period lies inside {}, which would become two: correct the dates of that one \
        first, then add what is missing", Named(&[*.0]))]
    Splits(Uuid),
    #[error("a past name ends where the next one begins{}: end it there, or add what was between \
        first", Start(*.0))]
    Gap(Option<NaiveDate>),
    #[error("there is always a name, it cannot end: call AddEntry with the name that follows")]
    NameCannotEnd,
    #[error("there is always a name, and no other holds than {}: correct it with CorrectEntry",
        Named(&[*.0]))]
    OnlyName(Uuid),
    #[error("the period ends on {}, which is not after its start, {}",
        date_text(.0.to), date_text(.0.from))]
    PeriodInvalid(Period),
    #[error("{} begins on that day or later: call RescindEntry when it was never true, or \
        CorrectEntry when its start is wrong", Named(&[*.0]))]
    EndsBeforeStart(Uuid),
    #[error("a past entry has an end: call AddEntry for a value that still holds")]
    PastWithoutEnd,
    #[error(
        "the end, {0}, is after today: call again on that day, or schedule what follows with \
        AddEntry"
    )]
    EndInFuture(NaiveDate),
    #[error("{} does not hold today: only a current entry can be ended", Named(&[*.0]))]
    NotCurrent(Uuid),
    #[error("{} has begun: call EndEntry when it holds no longer, RescindEntry when it was never \
        true", Named(&[*.0]))]
    NotScheduled(Uuid),
    #[error("with these dates {} would change between past, current and scheduled: {}",
        Named(&[*.0]), .1)]
    StatusWouldChange(Uuid, Remedy),
    #[error("{} is past: an owner or admin can correct it with `correct_history`; when it has not \
        ended, correct `active_to`", Named(&[*.0]))]
    PastNeedsFlag(Uuid),
    #[error(
        "the value is blank: call EndEntry when nothing holds any longer, RescindEntry when \
        it was never true"
    )]
    ValueBlank,
    #[error("the value is not of the kind that this timeline keeps")]
    WrongValue,
    #[error("{} is not on this timeline", Named(&[*.0]))]
    UnknownEntry(Uuid),
}

/// The RPC to call instead of a correction that changes the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Remedy {
    #[error("when it holds no longer, call EndEntry")]
    End,
    #[error(
        "when the next name holds already, call CancelScheduledEntry, then AddEntry with its day"
    )]
    FollowEarlier,
    #[error("when it has begun already, call CancelScheduledEntry, then AddEntry with its day")]
    BeginEarlier,
    #[error(
        "others have begun after it: when it holds again, call AddEntry; when those were never \
        true, call RescindEntry first"
    )]
    HoldAgain,
}

impl TimelineError {
    /// The reason code of the API.
    pub(crate) fn reason(&self) -> ErrorReason {
        match self {
            Self::Overlap(_) => ErrorReason::PeriodOverlap,
            Self::ScheduledExists(_) => ErrorReason::ScheduledEntryExists,
            Self::TooFar => ErrorReason::EffectiveDateTooFar,
            Self::StartsSameDay(_) => ErrorReason::EntryStartsSameDay,
            Self::BeforeCurrent(_) => ErrorReason::BeforeCurrentEntry,
            Self::AlreadyCurrent(_) => ErrorReason::AlreadyCurrent,
            Self::Covers(_) => ErrorReason::PeriodSwallowsEntry,
            Self::Splits(_) => ErrorReason::PeriodSplitsEntry,
            Self::Gap(_) => ErrorReason::PeriodGap,
            Self::NameCannotEnd | Self::OnlyName(_) => ErrorReason::NameRequired,
            Self::PeriodInvalid(_) | Self::PastWithoutEnd | Self::EndsBeforeStart(_) => {
                ErrorReason::PeriodInvalid
            }
            Self::EndInFuture(_) => ErrorReason::EndInFuture,
            Self::NotCurrent(_) => ErrorReason::NoCurrentEntry,
            Self::NotScheduled(_) => ErrorReason::NotScheduled,
            Self::StatusWouldChange(..) => ErrorReason::EntryStatusWouldChange,
            Self::PastNeedsFlag(_) => ErrorReason::CorrectHistoryRequired,
            Self::ValueBlank => ErrorReason::ValueBlank,
            Self::WrongValue => ErrorReason::FieldNotApplicable,
            Self::UnknownEntry(_) => ErrorReason::NotFound,
        }
    }

    /// The conflicting entries, or the entry of the command.
    pub(crate) fn entries(&self) -> &[Uuid] {
        match self {
            Self::Overlap(ids) | Self::Covers(ids) => ids,
            Self::ScheduledExists(id)
            | Self::StartsSameDay(id)
            | Self::BeforeCurrent(id)
            | Self::AlreadyCurrent(id)
            | Self::Splits(id)
            | Self::OnlyName(id)
            | Self::EndsBeforeStart(id)
            | Self::NotCurrent(id)
            | Self::NotScheduled(id)
            | Self::StatusWouldChange(id, _)
            | Self::PastNeedsFlag(id)
            | Self::UnknownEntry(id) => std::slice::from_ref(id),
            Self::TooFar
            | Self::Gap(_)
            | Self::NameCannotEnd
            | Self::PeriodInvalid(_)
            | Self::PastWithoutEnd
            | Self::EndInFuture(_)
            | Self::ValueBlank
            | Self::WrongValue => &[],
        }
    }
}

/// Formats ids as text.
struct Named<'a>(&'a [Uuid]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.iter().take(MAX_NAMED).map(|id| ids::text(IdKind::Entry, *id));
        f.write_str(&named.collect::<Vec<_>>().join(", "))?;
        match self.0.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Formats the start of the first name, if known.
struct Start(Option<NaiveDate>);

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |day| write!(f, ", on {day}"))
    }
}
