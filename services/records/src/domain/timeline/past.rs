//! A past entry: something that held once and was not known.

use chrono::NaiveDate;
use shared::rules::{date::Period, value::Value};
use uuid::Uuid;

use super::{Decision, Edit, Entry, EntryEvent, EventKind, Outcome, Refusal, Timeline};

/// A value that held and has ended (`AddHistoricalEntry` in the table).
///
/// The etag that the service checks is that of the record: the neighbours of the
/// new entry may change, and a caller does not name them.
#[derive(Clone, Debug)]
pub(crate) struct AddPastEntry {
    /// Of the new entry.
    pub(crate) id: Uuid,
    pub(crate) value: Value,
    pub(crate) period: Period,
    /// Whether entries that it overlaps in part are shortened to make room.
    pub(crate) trim: bool,
}

/// What a past entry does to one that is there.
#[derive(Clone, Copy)]
enum Effect {
    /// They have no day in common.
    Apart,
    /// Its start was not known, and now is.
    StartFound(Period),
    /// Their days overlap in part.
    Trimmed(Period),
    /// None of its days are left.
    Swallowed,
    /// It would have days both before and after.
    Split,
}

impl Timeline {
    /// Adds an entry that held once. Nothing else changes, but for the unknown
    /// start of the entry after it and, with `trim`, the days of those that it
    /// overlaps.
    pub(crate) fn add_past(&self, command: AddPastEntry) -> Result<Decision, Refusal> {
        let AddPastEntry { id, value, period, trim } = command;
        self.check_value(&value)?;
        let to = self.check_past(period)?;
        // Two products know the same of the past: the same value again makes no
        // row.
        let equal = |entry: &&Entry| entry.value == value && entry.period == period;
        if let Some(equal) = self.entries.iter().find(equal) {
            return Ok(Decision::no_change(equal.id));
        }
        let effect = |other| (other, Effect::of(period, to, other));
        let effects: Vec<(&Entry, Effect)> = self.entries.iter().map(effect).collect();
        check_overlaps(&effects, trim)?;
        if self.key.is_contiguous() {
            check_joins(&effects, to)?;
        }
        let entry = self.new_entry(id, value, period);
        let entry = if self.key.is_contiguous() { entry.closed_by_next() } else { entry };
        let mut edits = vec![Edit::Insert(entry)];
        let mut added = EntryEvent::new(EventKind::Added, id);
        let mut trimmed = Vec::new();
        for (other, effect) in effects {
            let period = match effect {
                Effect::StartFound(period) => {
                    added = added.with(Some(other.id));
                    period
                }
                Effect::Trimmed(period) => {
                    trimmed.push(EntryEvent::new(EventKind::DatesChanged, other.id));
                    period
                }
                Effect::Apart | Effect::Swallowed | Effect::Split => continue,
            };
            edits.push(self.set_dates(other, period, other.own_to));
        }
        let events = [added].into_iter().chain(trimmed).collect();
        Ok(self.decided(Outcome::Added, id, edits, events))
    }

    /// The end of a past entry: it has one, after its start and not after today.
    fn check_past(&self, period: Period) -> Result<NaiveDate, Refusal> {
        match period.to {
            None => Err(Refusal::PastWithoutEnd),
            Some(_) if !period.is_valid() => Err(Refusal::PeriodInvalid(period)),
            Some(to) if self.today < to => Err(Refusal::EndInFuture(to)),
            Some(to) => Ok(to),
        }
    }
}

impl Effect {
    fn of(new: Period, to: NaiveDate, other: &Entry) -> Self {
        let period = other.period;
        let later = Period { from: Some(to), ..period };
        let ends_in_it = period.to.is_some_and(|end| end <= to);
        if period.from.is_none() && !ends_in_it {
            // An unknown start claims no days: it lets any entry in before it.
            return Self::StartFound(later);
        }
        if !period.overlaps(&new) {
            return Self::Apart;
        }
        // An unknown start is the earliest.
        match (new.from <= period.from, ends_in_it) {
            (true, true) => Self::Swallowed,
            (true, false) => Self::Trimmed(later),
            (false, true) => Self::Trimmed(Period { to: new.from, ..period }),
            (false, false) => Self::Split,
        }
    }
}

/// Refuses overlaps; with `trim` those only that trimming cannot mend.
fn check_overlaps(effects: &[(&Entry, Effect)], trim: bool) -> Result<(), Refusal> {
    let ids = |which: fn(Effect) -> bool| {
        let found = effects.iter().filter(|(_, effect)| which(*effect));
        found.map(|(entry, _)| entry.id).collect::<Vec<_>>()
    };
    let overlapped = ids(|e| matches!(e, Effect::Trimmed(_) | Effect::Swallowed | Effect::Split));
    let swallowed = ids(|e| matches!(e, Effect::Swallowed));
    let split = ids(|e| matches!(e, Effect::Split));
    match split.first() {
        _ if !trim && !overlapped.is_empty() => Err(Refusal::Overlap(overlapped)),
        _ if !swallowed.is_empty() => Err(Refusal::Swallows(swallowed)),
        Some(split) => Err(Refusal::Splits(*split)),
        None => Ok(()),
    }
}

/// A past name ends where the next one begins. What goes before it follows: the
/// names that are there have no gaps, so it is the first or begins inside one.
fn check_joins(effects: &[(&Entry, Effect)], to: NaiveDate) -> Result<(), Refusal> {
    let start = |(entry, effect): &(&Entry, Effect)| match effect {
        Effect::StartFound(period) | Effect::Trimmed(period) => period.from,
        _ => entry.period.from,
    };
    if effects.iter().any(|entry| start(entry) == Some(to)) {
        return Ok(());
    }
    Err(Refusal::Gap(effects.first().and_then(start)))
}
