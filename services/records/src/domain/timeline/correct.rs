//! Corrects an entry that was wrong. The entry is overwritten; no entry is added or
//! removed.

use chrono::NaiveDate;
use concord_core::rules::{date::Period, value::Value};
use concord_proto::pb::records::EntryStatus;
use uuid::Uuid;

use super::{
    decision::{Decision, EntryEvent, EventKind, Outcome},
    entry::{Cut, Entry, Side},
    error::{Remedy, TimelineError},
    limits::is_too_far,
    state::Timeline,
};

/// Corrects the value or the dates of an entry.
///
/// The service checks the etag of the entry, and who may make a [`StatusCorrection`]. It
/// does not check the etags of neighbours whose boundary moves: their dates follow from
/// the dates of this entry.
#[derive(Clone, Debug)]
pub(crate) struct CorrectEntry {
    pub(crate) id: Uuid,
    /// The new value, if it was wrong.
    pub(crate) value: Option<Value>,
    /// Both new dates, if one of them was wrong.
    pub(crate) period: Option<Period>,
    /// True if the caller intends to correct a past entry, and may do so.
    pub(crate) correct_history: bool,
}

/// A correction of the status: an entry has not ended, or has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatusCorrection {
    /// The entry had ended by mistake.
    pub(crate) ended: bool,
    /// The entry had begun by mistake.
    pub(crate) begun: bool,
    /// True if no other entry of the timeline begins after it.
    pub(crate) is_last: bool,
}

impl Timeline {
    /// Overwrites the value of an entry, or its dates, or both.
    pub(crate) fn correct(&self, command: CorrectEntry) -> Result<Decision, TimelineError> {
        let status_correction = self.status_correction(&command)?;
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
        // The flag is needed for this entry only. That the end of a past neighbour follows
        // the start of the current entry is part of correcting the current entry.
        if self.status(entry) == EntryStatus::Past
            && !correct_history
            && status_correction.is_none()
        {
            return Err(TimelineError::PastNeedsFlag(id));
        }
        let outcome = if value.is_some() { Outcome::Corrected } else { Outcome::DatesChanged };
        let mut events = Vec::new();
        let mut after = match period {
            Some(period) => self.with_dates(entry, period, status_correction)?,
            None => self.clone(),
        };
        if let (Some(value), Some(entry)) = (value, after.find_mut(id)) {
            entry.value = value;
            events.push(EntryEvent::new(EventKind::Corrected, id));
        }
        let neighbours = self.moved(&after).filter(|moved| *moved != id);
        let moved = period.map(|_| id).into_iter().chain(neighbours);
        events.extend(moved.map(|id| EntryEvent::new(EventKind::DatesChanged, id)));
        Ok(self.decided(outcome, id, &after, events))
    }

    /// The status correction of a command: an entry that has ended has not ended, or one
    /// that has begun has not begun. It must be the last entry that has begun. `None` for
    /// other corrections.
    pub(crate) fn status_correction(
        &self,
        command: &CorrectEntry,
    ) -> Result<Option<StatusCorrection>, TimelineError> {
        let entry = self.entry(command.id)?;
        let Some(period) = command.period else { return Ok(None) };
        let (old, new) = (self.status(entry), period.status(self.today));
        let mut later = self.entries.iter().filter(|other| entry.sort_key() < other.sort_key());
        let is_status_correction = period.is_valid()
            && matches!(
                (old, new),
                (EntryStatus::Past, EntryStatus::Current | EntryStatus::Scheduled)
                    | (EntryStatus::Current, EntryStatus::Scheduled)
            )
            && later.clone().all(|other| self.status(other) == EntryStatus::Scheduled);
        let status_correction = StatusCorrection {
            ended: old == EntryStatus::Past,
            begun: new == EntryStatus::Scheduled,
            is_last: later.next().is_none(),
        };
        Ok(is_status_correction.then_some(status_correction))
    }

    /// The timeline with a new period of `entry`. The order of the entries cannot change.
    fn with_dates(
        &self,
        entry: &Entry,
        period: Period,
        status_correction: Option<StatusCorrection>,
    ) -> Result<Self, TimelineError> {
        self.check_dates(entry, period, status_correction)?;
        let after = if self.key.is_contiguous() {
            self.with_name_dates(entry, period)?
        } else {
            self.with_own_dates(entry, period)?
        };
        let too_far = |moved: Uuid| {
            let from = |timeline: &Self| timeline.entry(moved).ok().and_then(|e| e.period.from);
            from(self) != from(&after)
                && from(&after).is_some_and(|from| is_too_far(from, self.today))
        };
        if self.moved(&after).any(too_far) { Err(TimelineError::TooFar) } else { Ok(after) }
    }

    /// Checks the new dates of an entry, independent of its neighbours.
    fn check_dates(
        &self,
        entry: &Entry,
        period: Period,
        status_correction: Option<StatusCorrection>,
    ) -> Result<(), TimelineError> {
        if !period.is_valid() {
            return Err(TimelineError::PeriodInvalid(period));
        }
        let ends = entry.period.to.is_none() && period.to.is_some();
        if self.key.is_contiguous() && ends {
            return Err(TimelineError::NameCannotEnd);
        }
        // Ending, beginning and scheduling an entry are changes, which other commands
        // record. Only a status correction may change the status.
        if period.status(self.today) != self.status(entry) && status_correction.is_none() {
            return Err(self.status_would_change(entry, period));
        }
        let begun = status_correction.is_some_and(|status_correction| status_correction.begun);
        match self.scheduled() {
            Some(scheduled) if begun => Err(TimelineError::ScheduledExists(scheduled.id)),
            None if begun && self.is_first_name(entry) => Err(TimelineError::OnlyName(entry.id)),
            _ => Ok(()),
        }
    }

    /// The error for dates that change the status, with the RPC to call instead.
    fn status_would_change(&self, entry: &Entry, period: Period) -> TimelineError {
        let remedy = match (self.status(entry), period.status(self.today)) {
            (EntryStatus::Scheduled, _) => Remedy::BeginEarlier,
            (EntryStatus::Past, _) => Remedy::HoldAgain,
            _ if self.key.is_contiguous() => Remedy::FollowEarlier,
            _ => Remedy::End,
        };
        TimelineError::StatusWouldChange(entry.id, remedy)
    }

    /// Corrects the dates of a name. Names have no gaps: the adjacent names change with it.
    fn with_name_dates(&self, entry: &Entry, period: Period) -> Result<Self, TimelineError> {
        let mut after = self.clone();
        let mut covered = Vec::new();
        if period.from != entry.period.from {
            let before = self.touching_before(entry);
            let has_days_left =
                |before: &Entry| period.from.is_some() && before.period.from < period.from;
            covered.extend(before.filter(|before| !has_days_left(before)).map(|before| before.id));
            if let Some(entry) = after.find_mut(entry.id) {
                entry.set_start(period.from);
            }
        }
        if let (Some(next), true) = (self.touching_after(entry), period.to != entry.period.to) {
            let to = period.to.filter(|to| next.period.to.is_none_or(|end| *to < end));
            match (to, after.find_mut(next.id)) {
                (Some(to), Some(next)) => next.cut(Side::Start, entry.id, to),
                _ => covered.push(next.id),
            }
        }
        if !covered.is_empty() {
            return Err(TimelineError::Covers(covered));
        }
        after.recompute_periods();
        Ok(after)
    }

    /// Corrects the dates on a timeline that may have gaps. Neighbours are shortened only
    /// where they would overlap.
    fn with_own_dates(&self, entry: &Entry, period: Period) -> Result<Self, TimelineError> {
        let mut after = self.clone();
        let mut covered = Vec::new();
        let (mut before, mut later) = (None, None);
        let moves_start = period.from != entry.period.from;
        for other in self.entries.iter().filter(|other| other.id != entry.id) {
            let shortened = if other.sort_key() < entry.sort_key() {
                before = Some(other);
                match period.from {
                    // An unknown start is possible only without an entry before.
                    None if moves_start => Shortened::Completely,
                    _ => self.shortened_at_end(other, period),
                }
            } else {
                later = later.or(Some(other));
                self.shortened_at_start(other, period)
            };
            match (shortened, after.find_mut(other.id)) {
                (Shortened::NotAtAll, _) | (_, None) => {}
                (Shortened::At(side, day), Some(other)) => other.cut(side, entry.id, day),
                (Shortened::Completely, Some(other)) => covered.push(other.id),
            }
        }
        if !covered.is_empty() {
            return Err(TimelineError::Covers(covered));
        }
        // The entry before holds until the scheduled entry begins.
        let ends_at_start = |before: &&Entry| moves_start && is_closed_by(before, entry.id);
        if let (Some(from), Some(before)) = (period.from, before.filter(ends_at_start))
            && self.today < from
        {
            after.cut_end(before.id, entry.id, from);
        }
        if let Some(corrected) = after.find_mut(entry.id) {
            if moves_start {
                corrected.set_start(period.from);
            }
            if period.to != entry.period.to {
                corrected.set_end(period.to, later);
            }
        }
        after.recompute_periods();
        after.check_no_overlap(entry.id)?;
        Ok(after)
    }

    /// How a later entry, with the corrected dates `period`, shortens `other` at its end.
    fn shortened_at_end(&self, other: &Entry, period: Period) -> Shortened {
        let would_precede = period.to.is_some_and(|to| Some(to) <= other.period.known().from);
        match period.from {
            _ if would_precede => Shortened::Completely,
            _ if !self.collide(other, period) => Shortened::NotAtAll,
            Some(day) if other.period.from.is_none_or(|from| from < day) => {
                Shortened::At(Side::End, day)
            }
            _ => Shortened::Completely,
        }
    }

    /// How an earlier entry, with the corrected dates `period`, shortens `other` at its start.
    fn shortened_at_start(&self, other: &Entry, period: Period) -> Shortened {
        let would_follow = other.period.to.is_some() && other.period.to <= period.known().from;
        if would_follow {
            return Shortened::Completely;
        }
        if !self.collide(other, period) {
            return Shortened::NotAtAll;
        }
        match period.to {
            Some(day) if other.period.from.is_some() && other.period.contains(day) => {
                Shortened::At(Side::Start, day)
            }
            _ => Shortened::Completely,
        }
    }
}

/// True if `entry` ends only because `by` begins there.
fn is_closed_by(entry: &Entry, by: Uuid) -> bool {
    let ends = |cut: &Cut| cut.side == Side::End && cut.by == by && Some(cut.at) == entry.period.to;
    entry.cuts.iter().any(ends)
}

/// How an entry is shortened by another one whose dates are corrected.
enum Shortened {
    NotAtAll,
    /// It begins or ends on this day.
    At(Side, NaiveDate),
    /// No day is left, or the order of the two would change.
    Completely,
}

impl Entry {
    /// Corrects the start.
    fn set_start(&mut self, from: Option<NaiveDate>) {
        self.remove_cuts(Side::Start);
        self.declared.from = from;
    }

    fn begins_by(&self, day: NaiveDate) -> bool {
        self.period.from.is_some_and(|from| from <= day)
    }

    /// Corrects the end. If the end was implicit, and `next` is shortened or begins there, it
    /// stays implicit. The declared end is then kept, unless it is earlier.
    fn set_end(&mut self, to: Option<NaiveDate>, next: Option<&Entry>) {
        let meets = |next: &&Entry| to.is_some_and(|to| next.begins_by(to));
        match (to, next.filter(meets)) {
            (Some(to), Some(next)) if self.is_closed() => {
                self.declared.to = self.declared.to.filter(|own| to <= *own);
                self.cuts.retain(|cut| cut.side == Side::Start || to <= cut.at);
                self.cut(Side::End, next.id, to);
            }
            _ => {
                self.remove_cuts(Side::End);
                self.declared.to = to;
            }
        }
    }
}
