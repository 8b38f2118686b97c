//! The decision of a command: edits and events. How its edits are found, ordered and
//! applied.

use chrono::NaiveDate;
use concord_core::rules::{date::Period, value::Value};
use uuid::Uuid;

use super::{Cut, Entry, Timeline};

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

impl Timeline {
    /// The decision that turns this timeline into `after`. Its edits are in an order that
    /// never violates the exclusion constraint.
    pub(super) fn decided(
        &self,
        outcome: Outcome,
        entry: Uuid,
        after: &Self,
        events: Vec<EntryEvent>,
    ) -> Decision {
        let edits = without_overlaps(&self.entries, self.edits_to(after));
        Decision { edits, outcome, entry: Some(entry), events }
    }

    fn edits_to(&self, after: &Self) -> Vec<Edit> {
        let removed = self.entries.iter().filter(|entry| after.entry(entry.id).is_err());
        let mut edits: Vec<Edit> = removed.map(|entry| Edit::Remove(entry.id)).collect();
        for entry in &after.entries {
            let Ok(before) = self.entry(entry.id) else {
                edits.push(Edit::Insert(entry.clone()));
                continue;
            };
            let dates = Edit::dates(entry);
            if dates != Edit::dates(before) {
                edits.push(dates);
            }
            if entry.value != before.value {
                edits.push(Edit::SetValue { id: entry.id, value: entry.value.clone() });
            }
        }
        edits
    }

    /// The timeline after `decision`, as the database stores it after all edits. Edits of
    /// missing entries change nothing.
    pub(crate) fn apply(&self, decision: &Decision) -> Self {
        let mut after = self.clone();
        for edit in &decision.edits {
            edit.write_to(&mut after.entries);
        }
        after.sort();
        after
    }
}

/// `edits` in an order in which no two entries overlap after any of them.
///
/// PostgreSQL checks the exclusion constraint at every statement. When a boundary moves,
/// the entry that loses days is written before the one that gets them. A command only
/// moves boundaries between neighbours, so such an order always exists.
fn without_overlaps(entries: &[Entry], edits: Vec<Edit>) -> Vec<Edit> {
    let mut entries = entries.to_vec();
    let mut waiting = edits;
    let mut ordered = Vec::with_capacity(waiting.len());
    while let Some(next) = waiting.iter().position(|edit| fits(edit, &entries)) {
        let edit = waiting.remove(next);
        edit.write_to(&mut entries);
        ordered.push(edit);
    }
    ordered.extend(waiting);
    ordered
}

fn fits(edit: &Edit, entries: &[Entry]) -> bool {
    let (id, period) = match edit {
        Edit::Insert(entry) => (entry.id, entry.period),
        Edit::SetDates { id, period, .. } => (*id, *period),
        Edit::SetValue { .. } | Edit::Remove(_) => return true,
    };
    entries.iter().all(|other| other.id == id || !other.collides(period))
}
