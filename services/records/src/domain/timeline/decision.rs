//! What a command comes to.

use chrono::NaiveDate;
use shared::rules::{date::Period, value::Value};
use uuid::Uuid;

use super::{Cut, Entry};

/// What is to be written and told.
#[must_use = "nothing is written yet"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// In the order in which they are to be written: after none of them do two
    /// entries overlap, which PostgreSQL's fence checks at every statement.
    pub(crate) edits: Vec<Edit>,
    pub(crate) outcome: Outcome,
    /// The entry that the answer shows: the one that the command added, changed
    /// or removed; the one that it found, when nothing changes. None at midnight.
    pub(crate) entry: Option<Uuid>,
    /// In the order in which they are to be told, one change each.
    pub(crate) events: Vec<EntryEvent>,
}

impl Decision {
    /// Everything is as the command wants it, at the entry with this id.
    pub(super) fn no_change(entry: Uuid) -> Self {
        let (edits, events) = (Vec::new(), Vec::new());
        Self { edits, outcome: Outcome::NoChange, entry: Some(entry), events }
    }
}

/// One row to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Insert(Entry),
    SetDates { id: Uuid, period: Period, own: Period, cuts: Vec<Cut>, turns_on: Option<NaiveDate> },
    SetValue { id: Uuid, value: Value },
    Remove(Uuid),
}

impl Edit {
    /// Writes the dates that `entry` has.
    pub(super) fn dates(entry: &Entry) -> Self {
        let Entry { id, period, own, cuts, turns_on, .. } = entry;
        let (id, period, own, turns_on) = (*id, *period, *own, *turns_on);
        Self::SetDates { id, period, own, cuts: cuts.clone(), turns_on }
    }
}

/// What a command did, for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was as the command wants it.
    NoChange,
    Added,
    Scheduled,
    /// The value was overwritten; the dates too, when both were given.
    Corrected,
    DatesChanged,
    Ended,
    Cancelled,
    Rescinded,
    /// Midnight changed the status of entries.
    Turned,
}

/// One thing that happened to one entry, for the other products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryEvent {
    pub(crate) kind: EventKind,
    pub(crate) entry: Uuid,
    /// The entry that changed with it and has no event of its own: the one that
    /// it closed or took over from, whose unknown start it made known, or that
    /// took its days when it was removed.
    pub(crate) neighbour: Option<Uuid>,
}

impl EntryEvent {
    pub(super) fn new(kind: EventKind, entry: Uuid) -> Self {
        Self { kind, entry, neighbour: None }
    }

    pub(super) fn with(self, neighbour: Option<Uuid>) -> Self {
        Self { neighbour, ..self }
    }
}

/// The kinds of [`EntryEvent`]: `CHANGE_KIND_ENTRY_…` on the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EventKind {
    Added,
    Scheduled,
    BecameCurrent,
    /// The value was overwritten; the feed tells the new one only.
    Corrected,
    DatesChanged,
    Ended,
    Cancelled,
    Rescinded,
}
