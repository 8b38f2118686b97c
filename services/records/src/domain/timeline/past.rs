//! A past entry: something that held once and was not known.

use chrono::NaiveDate;
use shared::rules::{date::Period, value::Value};
use uuid::Uuid;

use super::{Decision, Entry, EntryEvent, EventKind, Outcome, Refusal, Timeline, entry::Side};

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
    /// Its start was not known, and now is: the end of the past name.
    StartFound,
    /// Their days overlap in part: it begins, or ends, on this day.
    Trimmed(Side, NaiveDate),
    /// None of its days are left.
    Swallowed,
    /// It would have days both before and after.
    Split,
}

impl Timeline {
    /// Adds an entry that held once. Nothing else changes, but for the unknown
    /// start of the name after it and, with `trim`, the days of those that it
    /// overlaps. Where gaps may be, an unknown start stays unknown.
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
        let effect = |other| (other, self.effect(period, to, other));
        let effects: Vec<(&Entry, Effect)> = self.entries.iter().map(effect).collect();
        check_overlaps(&effects, trim)?;
        if self.key.is_contiguous() {
            check_joins(&effects, to)?;
        }
        let mut after = self.clone();
        after.entries.push(self.new_entry(id, value, period));
        let mut added = EntryEvent::new(EventKind::Added, id);
        let mut trimmed = Vec::new();
        for (other, effect) in effects {
            let (side, at) = match effect {
                Effect::StartFound => {
                    added = added.with(Some(other.id));
                    (Side::Start, to)
                }
                Effect::Trimmed(side, at) => {
                    trimmed.push(EntryEvent::new(EventKind::DatesChanged, other.id));
                    (side, at)
                }
                Effect::Apart | Effect::Swallowed | Effect::Split => continue,
            };
            match (side, after.find_mut(other.id)) {
                (Side::End, _) => after.cut_end(other.id, id, at),
                (Side::Start, Some(other)) => {
                    other.cut(side, id, at);
                    // It is after the new entry, also when both began on one day.
                    other.period.from = other.period.from.max(Some(at));
                }
                (Side::Start, None) => {}
            }
        }
        after.keep_start_after(id);
        after.settle();
        after.check_room(id)?;
        let events = [added].into_iter().chain(trimmed).collect();
        Ok(self.decided(Outcome::Added, id, &after, events))
    }

    /// What a past entry does to one that is there.
    fn effect(&self, new: Period, to: NaiveDate, other: &Entry) -> Effect {
        let Period { from, to: end } = other.period;
        let ends_in_it = end.is_some_and(|end| end <= to);
        if from.is_none() && !ends_in_it {
            // An unknown start claims no days: it lets any entry in before it.
            return if self.key.is_contiguous() { Effect::StartFound } else { Effect::Apart };
        }
        if !self.collide(other, new) {
            return Effect::Apart;
        }
        let begins_in_it = new.from.is_none_or(|new| from.is_some_and(|from| new <= from));
        match (begins_in_it, ends_in_it, new.from) {
            (true, true, _) => Effect::Swallowed,
            (true, false, _) => Effect::Trimmed(Side::Start, to),
            (false, true, Some(from)) => Effect::Trimmed(Side::End, from),
            (false, ..) => Effect::Split,
        }
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

/// Refuses overlaps; with `trim` those only that trimming cannot mend.
fn check_overlaps(effects: &[(&Entry, Effect)], trim: bool) -> Result<(), Refusal> {
    let ids = |which: fn(Effect) -> bool| {
        let found = effects.iter().filter(|(_, effect)| which(*effect));
        found.map(|(entry, _)| entry.id).collect::<Vec<_>>()
    };
    let overlapped = ids(|e| matches!(e, Effect::Trimmed(..) | Effect::Swallowed | Effect::Split));
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
        Effect::StartFound => Some(to),
        Effect::Trimmed(Side::Start, at) => Some(*at),
        _ => entry.period.from,
    };
    if effects.iter().any(|entry| start(entry) == Some(to)) {
        return Ok(());
    }
    Err(Refusal::Gap(effects.first().and_then(start)))
}
