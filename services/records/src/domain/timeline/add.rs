//! Adds an entry: the value changed. The old value is kept with its dates.

use chrono::NaiveDate;
use concord_core::rules::{date::Period, value::Value};
use uuid::Uuid;

use super::{
    decision::{Decision, EntryEvent, EventKind, Outcome},
    entry::Entry,
    error::TimelineError,
    limits::is_too_far,
    state::Timeline,
};

/// Adds a value that holds from a day on (`RecordChange` in the table).
///
/// The etag that the service checks is that of the current entry, or of the
/// record while no entry is current.
#[derive(Clone, Debug)]
pub(crate) struct AddEntry {
    /// The id of the new entry.
    pub(crate) id: Uuid,
    pub(crate) value: Value,
    /// The first day; today by default.
    pub(crate) effective_on: Option<NaiveDate>,
}

impl Timeline {
    /// Adds an entry that holds from a day on. It ends the current entry on that day. An
    /// entry that begins after today is scheduled.
    pub(crate) fn add(&self, command: AddEntry) -> Result<Decision, TimelineError> {
        let AddEntry { id, value, effective_on } = command;
        self.check_value(&value)?;
        if let Some(same) = self.find_equal(&value, effective_on)? {
            return Ok(Decision::no_change(same.id));
        }
        let day = effective_on.unwrap_or(self.today);
        if self.today < day {
            self.schedule(id, value, day)
        } else {
            self.add_current(id, value, day)
        }
    }

    /// The existing entry with the same value, which makes the command a no-op. The same
    /// value with another date is an error: it may be a correction, which is never guessed.
    fn find_equal(
        &self,
        value: &Value,
        effective_on: Option<NaiveDate>,
    ) -> Result<Option<&Entry>, TimelineError> {
        // The table has this row for the current entry only. A repeated command for the
        // scheduled entry is the same case.
        let equal = |entry: &&Entry| entry.value == *value && entry.period.from == effective_on;
        if let Some(scheduled) = self.scheduled().filter(equal) {
            return Ok(Some(scheduled));
        }
        let Some(current) = self.current().filter(|current| current.value == *value) else {
            return Ok(None);
        };
        match effective_on {
            None => Ok(Some(current)),
            Some(_) if current.period.from == effective_on => Ok(Some(current)),
            // The value holds again after a gap, or after the scheduled entry.
            Some(day) if self.today < day && !self.lasts_until(current, day) => Ok(None),
            Some(_) => Err(TimelineError::AlreadyCurrent(current.id)),
        }
    }

    /// True if `current` holds until `day`, which is after today.
    fn lasts_until(&self, current: &Entry, day: NaiveDate) -> bool {
        self.scheduled().is_none() && current.period.to.is_none_or(|to| day <= to)
    }

    fn add_current(
        &self,
        id: Uuid,
        value: Value,
        day: NaiveDate,
    ) -> Result<Decision, TimelineError> {
        let scheduled = self.scheduled();
        // Without a current entry, all entries have ended. The new entry begins on the last
        // end or later.
        let until = scheduled.and_then(|entry| entry.period.from);
        let period = Period::new(Some(day), until);
        match self.current() {
            Some(current) if current.period.from == Some(day) => {
                return Err(TimelineError::StartsSameDay(current.id));
            }
            Some(current) if !self.begins_before(current, day) => {
                return Err(TimelineError::BeforeCurrent(current.id));
            }
            Some(_) => {}
            None => match self.conflicting_ids(period) {
                ids if ids.is_empty() => {}
                ids => return Err(TimelineError::Overlap(ids)),
            },
        }
        // The scheduled value takes effect earlier than planned. A second entry with the
        // same value would change nothing, so the scheduled one must be cancelled first.
        let planned = |entry: &&Entry| entry.value == value && !self.is_first_name(entry);
        if let Some(scheduled) = scheduled.filter(planned) {
            return Err(TimelineError::ScheduledExists(scheduled.id));
        }
        let entry = self.new_entry(id, value, Period::new(Some(day), None));
        Ok(self.insert_after_current(entry, day, Outcome::Added, EventKind::Added))
    }

    /// True if `current` begins before `day`. An unknown start is after the end of all past
    /// entries.
    pub(super) fn begins_before(&self, current: &Entry, day: NaiveDate) -> bool {
        if let Some(from) = current.period.from {
            from < day
        } else {
            let others = self.entries.iter().filter(|entry| entry.id != current.id);
            let past = others.filter(|entry| entry.sort_key() < current.sort_key());
            past.filter_map(|entry| entry.period.to).all(|to| to < day)
        }
    }

    fn schedule(&self, id: Uuid, value: Value, day: NaiveDate) -> Result<Decision, TimelineError> {
        if is_too_far(day, self.today) {
            return Err(TimelineError::TooFar);
        }
        if let Some(scheduled) = self.scheduled() {
            return Err(TimelineError::ScheduledExists(scheduled.id));
        }
        let entry = self.new_entry(id, value, Period::new(Some(day), None));
        Ok(self.insert_after_current(entry, day, Outcome::Scheduled, EventKind::Scheduled))
    }

    /// Adds `entry`, which ends where the scheduled entry begins. Ends the current entry,
    /// unless it ends earlier.
    fn insert_after_current(
        &self,
        entry: Entry,
        day: NaiveDate,
        outcome: Outcome,
        kind: EventKind,
    ) -> Decision {
        let closed = self.current().filter(|current| current.period.to.is_none_or(|to| day < to));
        let closed = closed.map(|closed| closed.id);
        let id = entry.id;
        let mut after = self.clone();
        after.entries.push(entry);
        if let Some((next, from)) = self.scheduled().and_then(|s| Some((s.id, s.period.from?))) {
            after.cut_end(id, next, from);
        }
        if let Some(closed) = closed {
            after.cut_end(closed, id, day);
        }
        after.keep_start_after(id);
        after.recompute_periods();
        let event = EntryEvent::new(kind, id).with(closed);
        self.decided(outcome, id, &after, vec![event])
    }
}
