//! A new entry: the world changed. The old value stays, with its dates.

use chrono::NaiveDate;
use shared::rules::{date::Period, value::Value};
use uuid::Uuid;

use super::{Decision, Entry, EntryEvent, EventKind, Outcome, Refusal, Timeline, is_too_far};

/// A value that holds from a day on (`RecordChange` in the table).
///
/// The etag that the service checks is that of the current entry, or of the
/// record while no entry is current.
#[derive(Clone, Debug)]
pub(crate) struct AddEntry {
    /// Of the new entry.
    pub(crate) id: Uuid,
    pub(crate) value: Value,
    /// The first day; today when the caller names none.
    pub(crate) effective_on: Option<NaiveDate>,
}

impl Timeline {
    /// Adds an entry that holds from a day on: it closes the current one on that
    /// day, or is scheduled to.
    pub(crate) fn add(&self, command: AddEntry) -> Result<Decision, Refusal> {
        let AddEntry { id, value, effective_on } = command;
        self.check_value(&value)?;
        if let Some(same) = self.same_again(&value, effective_on)? {
            return Ok(Decision::no_change(same.id));
        }
        let day = effective_on.unwrap_or(self.today);
        if self.today < day { self.schedule(id, value, day) } else { self.begin(id, value, day) }
    }

    /// The entry that says already what the caller wants to say: the same value
    /// again makes no row. Another date for it is a correction, which is never
    /// guessed.
    fn same_again(
        &self,
        value: &Value,
        effective_on: Option<NaiveDate>,
    ) -> Result<Option<&Entry>, Refusal> {
        // The table has this row for the current entry only. A change that is
        // scheduled already, and is saved again with its day, is the same case.
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
            // It returns after a gap, or follows what is scheduled.
            Some(day) if self.today < day && !self.lasts_until(current, day) => Ok(None),
            Some(_) => Err(Refusal::AlreadyCurrent(current.id)),
        }
    }

    /// Whether nothing stands between `current` and an entry that begins on
    /// `day`, after today.
    fn lasts_until(&self, current: &Entry, day: NaiveDate) -> bool {
        self.scheduled().is_none() && current.period.to.is_none_or(|to| day <= to)
    }

    fn begin(&self, id: Uuid, value: Value, day: NaiveDate) -> Result<Decision, Refusal> {
        let scheduled = self.scheduled();
        // Without a current entry all that began has ended: the new one begins
        // on the last end or later.
        let until = scheduled.and_then(|entry| entry.period.from);
        let period = Period::new(Some(day), until);
        match self.current() {
            Some(current) if current.period.from == Some(day) => {
                return Err(Refusal::StartsSameDay(current.id));
            }
            Some(current) if !self.begins_before(current, day) => {
                return Err(Refusal::BeforeCurrent(current.id));
            }
            Some(_) => {}
            None => match self.ids_in_the_way(period) {
                ids if ids.is_empty() => {}
                ids => return Err(Refusal::Overlap(ids)),
            },
        }
        // The move that was planned for April was made in March: the same value
        // again would make a row that changes nothing, so the plan goes first.
        let planned = |entry: &&Entry| entry.value == value && !self.is_first_name(entry);
        if let Some(scheduled) = scheduled.filter(planned) {
            return Err(Refusal::ScheduledExists(scheduled.id));
        }
        let entry = self.new_entry(id, value, Period::new(Some(day), None));
        Ok(self.follow(entry, day, Outcome::Added, EventKind::Added))
    }

    /// Whether `current` has a day before `day`. When its start is not known, it
    /// begins after those that have ended.
    pub(super) fn begins_before(&self, current: &Entry, day: NaiveDate) -> bool {
        if let Some(from) = current.period.from {
            from < day
        } else {
            let others = self.entries.iter().filter(|entry| entry.id != current.id);
            let past = others.filter(|entry| entry.place() < current.place());
            past.filter_map(|entry| entry.period.to).all(|to| to < day)
        }
    }

    fn schedule(&self, id: Uuid, value: Value, day: NaiveDate) -> Result<Decision, Refusal> {
        if is_too_far(day, self.today) {
            return Err(Refusal::TooFar);
        }
        if let Some(scheduled) = self.scheduled() {
            return Err(Refusal::ScheduledExists(scheduled.id));
        }
        let entry = self.new_entry(id, value, Period::new(Some(day), None));
        Ok(self.follow(entry, day, Outcome::Scheduled, EventKind::Scheduled))
    }

    /// Adds `entry`, which ends where what is scheduled begins, and closes the
    /// current one unless it ends before by itself.
    fn follow(&self, entry: Entry, day: NaiveDate, outcome: Outcome, kind: EventKind) -> Decision {
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
        after.settle();
        let event = EntryEvent::new(kind, id).with(closed);
        self.decided(outcome, id, &after, vec![event])
    }
}
