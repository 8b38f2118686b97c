//! A correction: an entry was wrong. It is overwritten where it stands; no entry
//! comes and none goes.

use chrono::NaiveDate;
use shared::{
    pb::records::EntryStatus,
    rules::{date::Period, value::Value},
};
use uuid::Uuid;

use super::{Decision, Edit, Entry, EntryEvent, EventKind, Outcome, Refusal, Timeline, is_too_far};

/// What an entry should have said.
///
/// The etag that the service checks is that of the entry. Neighbours whose
/// boundary follows are not checked: their dates follow from this entry's.
#[derive(Clone, Debug)]
pub(crate) struct CorrectEntry {
    pub(crate) id: Uuid,
    /// The value, when it was wrong.
    pub(crate) value: Option<Value>,
    /// Both dates, when one of them was wrong.
    pub(crate) period: Option<Period>,
    /// Whether the caller means to correct the past, and may.
    pub(crate) correct_history: bool,
}

impl Timeline {
    /// Overwrites the value of an entry, or its dates, or both.
    pub(crate) fn correct(&self, command: CorrectEntry) -> Result<Decision, Refusal> {
        let CorrectEntry { id, value, period, correct_history } = command;
        let entry = self.entry(id)?;
        if let Some(value) = &value {
            self.check_value(value)?;
        }
        let value = value.filter(|value| *value != entry.value);
        let period = period.filter(|period| *period != entry.period);
        if value.is_none() && period.is_none() {
            return Ok(Decision::no_change(id));
        }
        // Only of this entry: that the end of a past one follows the start of
        // the current one is part of correcting the current one.
        if self.status(entry) == EntryStatus::Past && !correct_history {
            return Err(Refusal::PastNeedsFlag(id));
        }
        let outcome = if value.is_some() { Outcome::Corrected } else { Outcome::DatesChanged };
        let mut events = Vec::new();
        let mut edits = match period {
            Some(period) => self.correct_dates(entry, period)?,
            None => Vec::new(),
        };
        if let Some(value) = value {
            edits.push(Edit::SetValue { id, value });
            events.push(EntryEvent::new(EventKind::Corrected, id));
        }
        let moved = edits.iter().filter_map(|edit| match edit {
            Edit::SetDates { id, .. } => Some(*id),
            _ => None,
        });
        events.extend(moved.map(|id| EntryEvent::new(EventKind::DatesChanged, id)));
        Ok(self.decided(outcome, id, edits, events))
    }

    /// The entry first, then the neighbours that touch it: their boundaries
    /// follow, and none can be passed.
    fn correct_dates(&self, entry: &Entry, period: Period) -> Result<Vec<Edit>, Refusal> {
        self.check_dates(entry, period)?;
        let (before, after) = (self.touching_before(entry), self.touching_after(entry));
        let mut edits = vec![self.move_dates(entry, period)];
        let mut swallowed = Vec::new();
        let mut follow = |neighbour: &Entry, boundary: Option<NaiveDate>, period: Period| {
            if boundary.is_none() || !period.is_valid() {
                swallowed.push(neighbour.id);
            } else if period != neighbour.period {
                edits.push(self.move_dates(neighbour, period));
            }
        };
        if let Some(before) = before {
            follow(before, period.from, Period { to: period.from, ..before.period });
        }
        if let Some(after) = after {
            follow(after, period.to, Period { from: period.to, ..after.period });
        }
        if !swallowed.is_empty() {
            return Err(Refusal::Swallows(swallowed));
        }
        let touching = [Some(entry), before, after];
        let others = self.entries.iter().filter(|other| !touching.contains(&Some(*other)));
        check_others(entry, period, others)?;
        let is_too_far = |edit: &Edit| self.begins_too_far(edit);
        if edits.iter().any(is_too_far) { Err(Refusal::TooFar) } else { Ok(edits) }
    }

    /// What the dates of an entry may become, whatever its neighbours are.
    fn check_dates(&self, entry: &Entry, period: Period) -> Result<(), Refusal> {
        if !period.is_valid() {
            return Err(Refusal::PeriodInvalid(period));
        }
        let ends = entry.period.to.is_none() && period.to.is_some();
        if self.key.is_contiguous() && ends {
            return Err(Refusal::NameCannotEnd);
        }
        // To end, to begin and to be planned are changes of the world: other
        // commands tell them.
        if period.status(self.today) != self.status(entry) {
            return Err(Refusal::StatusWouldChange(entry.id));
        }
        Ok(())
    }

    /// Whether `edit` moves a start into the far future.
    fn begins_too_far(&self, edit: &Edit) -> bool {
        let Edit::SetDates { id, period, .. } = edit else { return false };
        let moved = |entry: &Entry| entry.period.from != period.from;
        period.from.is_some_and(|from| is_too_far(from, self.today))
            && self.entry(*id).is_ok_and(moved)
    }

    fn move_dates(&self, entry: &Entry, period: Period) -> Edit {
        self.set_dates(entry, period, entry.own_to_after_move(period.to))
    }
}

/// Refuses dates that pass an entry which `entry` does not touch, or overlap it:
/// every entry stays where it stands among the others.
fn check_others<'a>(
    entry: &Entry,
    period: Period,
    others: impl Iterator<Item = &'a Entry>,
) -> Result<(), Refusal> {
    let (mut overlapped, mut passed) = (Vec::new(), Vec::new());
    for other in others {
        let Period { from, to } = other.period;
        let (apart, beyond) = if from < entry.period.from {
            (to.is_some() && to <= period.from, period.from <= from)
        } else {
            let beyond = period.to.is_none_or(|end| to.is_some_and(|to| to <= end));
            (period.to.is_some() && period.to <= from, beyond)
        };
        if beyond {
            passed.push(other.id);
        } else if !apart {
            overlapped.push(other.id);
        }
    }
    match (passed.is_empty(), overlapped.is_empty()) {
        (false, _) => Err(Refusal::Swallows(passed)),
        (true, false) => Err(Refusal::Overlap(overlapped)),
        (true, true) => Ok(()),
    }
}
