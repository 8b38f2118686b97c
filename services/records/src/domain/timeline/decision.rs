//! The decision of a command: edits and events.

use chrono::NaiveDate;
use concord_core::rules::{date::Period, value::Value};
use uuid::Uuid;

use super::entry::{Cut, Entry};

/// The edits to write and the events to publish.
#[must_use = "nothing is written yet"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// In write order. No two entries overlap after any of them, because PostgreSQL checks
    /// the exclusion constraint at every statement.
    pub(crate) edits: Vec<Edit>,
    pub(crate) outcome: Outcome,
    /// The entry of the answer: the one that the command added, changed, removed, or found
    /// unchanged. `None` for a rollover.
    pub(crate) entry: Option<Uuid>,
    /// In publication order; each becomes one change.
    pub(crate) events: Vec<EntryEvent>,
}

impl Decision {
    /// A no-op: the entry with this id is already as requested.
    pub(super) fn no_change(entry: Uuid) -> Self {
        let (edits, events) = (Vec::new(), Vec::new());
        Self { edits, outcome: Outcome::NoChange, entry: Some(entry), events }
    }

    /// Applies the edits to `entries`, which may contain other timelines too.
    pub(crate) fn apply_to(&self, entries: &mut Vec<Entry>) {
        for edit in &self.edits {
            edit.write_to(entries);
        }
    }
}

/// An edit of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Insert(Entry),
    SetDates {
        id: Uuid,
        period: Period,
        declared: Period,
        cuts: Vec<Cut>,
        status_changes_on: Option<NaiveDate>,
    },
    SetValue {
        id: Uuid,
        value: Value,
    },
    Remove(Uuid),
}

impl Edit {
    /// An edit that sets the dates of `entry`.
    pub(super) fn dates(entry: &Entry) -> Self {
        let Entry { id, period, declared, cuts, status_changes_on, .. } = entry;
        let (id, period, declared, status_changes_on) =
            (*id, *period, *declared, *status_changes_on);
        Self::SetDates { id, period, declared, cuts: cuts.clone(), status_changes_on }
    }

    pub(super) fn write_to(&self, entries: &mut Vec<Entry>) {
        match self {
            Self::Insert(entry) => entries.push(entry.clone()),
            Self::Remove(id) => entries.retain(|entry| entry.id != *id),
            Self::SetValue { id, value } => {
                for entry in entries.iter_mut().filter(|entry| entry.id == *id) {
                    entry.value = value.clone();
                }
            }
            Self::SetDates { id, period, declared, cuts, status_changes_on } => {
                for entry in entries.iter_mut().filter(|entry| entry.id == *id) {
                    (entry.period, entry.declared, entry.status_changes_on) =
                        (*period, *declared, *status_changes_on);
                    entry.cuts.clone_from(cuts);
                }
            }
        }
    }
}

/// The outcome of a command, for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The timeline was already as requested.
    NoChange,
    Added,
    Scheduled,
    /// The value was overwritten; the dates too, when both were given.
    Corrected,
    DatesChanged,
    Ended,
    Cancelled,
    Rescinded,
    /// The day changed the status of entries.
    Rollover,
}

/// An event of one entry, which the feed delivers to the other products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryEvent {
    pub(crate) kind: EventKind,
    pub(crate) entry: Uuid,
    /// The neighbour that changed too and has no event of its own: its end or its unknown
    /// start was set, or it got the days of a removed entry.
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
    /// The value was overwritten; the feed contains the new one only.
    Corrected,
    DatesChanged,
    Ended,
    Cancelled,
    Rescinded,
}
