//! Adds a past entry.

use chrono::NaiveDate;
use concord_core::rules::{date::Period, value::Value};
use uuid::Uuid;

use super::{
    decision::{Decision, EntryEvent, EventKind, Outcome},
    entry::{Entry, Side},
    error::TimelineError,
    state::Timeline,
};

/// Adds a value that held and has ended (`AddHistoricalEntry` in the table).
///
/// The service checks the etag of the record, because neighbours of the new entry may
/// change, which the request does not name.
#[derive(Clone, Debug)]
pub(crate) struct AddPastEntry {
    /// The id of the new entry.
    pub(crate) id: Uuid,
    pub(crate) value: Value,
    pub(crate) period: Period,
    /// True to shorten entries that it overlaps in part.
    pub(crate) trim: bool,
}

/// The effect of a past entry on an existing entry.
#[derive(Clone, Copy)]
enum Effect {
    /// No common days.
    Disjoint,
    /// The unknown start becomes known: it is the end of the past name.
    StartKnown,
    /// A partial overlap: the entry begins or ends on this day.
    Trimmed(Side, NaiveDate),
    /// None of its days are left.
    Covered,
    /// It has days before and after the past entry.
    Split,
}

impl Timeline {
    /// Adds a past entry. It also sets the unknown start of the next name and, with `trim`,
    /// shortens the entries that it overlaps. On timelines with gaps, an unknown start stays
    /// unknown.
    pub(crate) fn add_past(&self, command: AddPastEntry) -> Result<Decision, TimelineError> {
        let AddPastEntry { id, value, period, trim } = command;
        self.check_value(&value)?;
        let to = self.check_past(period)?;
        // Two products may add the same past entry: the second one is a no-op.
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
                Effect::StartKnown => {
                    added = added.with(Some(other.id));
                    (Side::Start, to)
                }
                Effect::Trimmed(side, at) => {
                    trimmed.push(EntryEvent::new(EventKind::DatesChanged, other.id));
                    (side, at)
                }
                Effect::Disjoint | Effect::Covered | Effect::Split => continue,
            };
            match (side, after.find_mut(other.id)) {
                (Side::End, _) => after.cut_end(other.id, id, at),
                (Side::Start, Some(other)) => {
                    other.cut(side, id, at);
                    // Sorts it after the new entry, also if both began on the same day.
                    other.period.from = other.period.from.max(Some(at));
                }
                (Side::Start, None) => {}
            }
        }
        after.keep_start_after(id);
        after.recompute_periods();
        after.check_no_overlap(id)?;
        let events = [added].into_iter().chain(trimmed).collect();
        Ok(self.decided(Outcome::Added, id, &after, events))
    }

    /// The effect of a past entry on an existing entry.
    fn effect(&self, new: Period, to: NaiveDate, other: &Entry) -> Effect {
        let Period { from, to: end } = other.period;
        let ends_in_it = end.is_some_and(|end| end <= to);
        if from.is_none() && !ends_in_it {
            // An entry with an unknown start conflicts with no earlier entry.
            return if self.key.is_contiguous() { Effect::StartKnown } else { Effect::Disjoint };
        }
        if !self.collide(other, new) {
            return Effect::Disjoint;
        }
        let begins_in_it = new.from.is_none_or(|new| from.is_some_and(|from| new <= from));
        match (begins_in_it, ends_in_it, new.from) {
            (true, true, _) => Effect::Covered,
            (true, false, _) => Effect::Trimmed(Side::Start, to),
            (false, true, Some(from)) => Effect::Trimmed(Side::End, from),
            (false, ..) => Effect::Split,
        }
    }

    /// The end of a past entry. It is required, after its start and not after today.
    fn check_past(&self, period: Period) -> Result<NaiveDate, TimelineError> {
        match period.to {
            None => Err(TimelineError::PastWithoutEnd),
            Some(_) if !period.is_valid() => Err(TimelineError::PeriodInvalid(period)),
            Some(to) if self.today < to => Err(TimelineError::EndInFuture(to)),
            Some(to) => Ok(to),
        }
    }
}

/// Rejects overlaps. With `trim`, rejects only those that trimming cannot resolve.
fn check_overlaps(effects: &[(&Entry, Effect)], trim: bool) -> Result<(), TimelineError> {
    let ids = |which: fn(Effect) -> bool| {
        let found = effects.iter().filter(|(_, effect)| which(*effect));
        found.map(|(entry, _)| entry.id).collect::<Vec<_>>()
    };
    let overlapped = ids(|e| matches!(e, Effect::Trimmed(..) | Effect::Covered | Effect::Split));
    let covered = ids(|e| matches!(e, Effect::Covered));
    let split = ids(|e| matches!(e, Effect::Split));
    match split.first() {
        _ if !trim && !overlapped.is_empty() => Err(TimelineError::Overlap(overlapped)),
        _ if !covered.is_empty() => Err(TimelineError::Covers(covered)),
        Some(split) => Err(TimelineError::Splits(*split)),
        None => Ok(()),
    }
}

/// Checks that a past name ends where the next one begins. Its start needs no check: the
/// existing names have no gaps, so it is the first name or begins within one.
fn check_joins(effects: &[(&Entry, Effect)], to: NaiveDate) -> Result<(), TimelineError> {
    let start = |(entry, effect): &(&Entry, Effect)| match effect {
        Effect::StartKnown => Some(to),
        Effect::Trimmed(Side::Start, at) => Some(*at),
        _ => entry.period.from,
    };
    if effects.iter().any(|entry| start(entry) == Some(to)) {
        return Ok(());
    }
    Err(TimelineError::Gap(effects.first().and_then(start)))
}
