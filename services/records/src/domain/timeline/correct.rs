//! A correction: an entry was wrong. It is overwritten where it stands; no entry
//! comes and none goes.

use chrono::NaiveDate;
use shared::{
    pb::records::EntryStatus,
    rules::{date::Period, value::Value},
};
use uuid::Uuid;

use super::{
    Decision, Entry, EntryEvent, EventKind, Outcome, Refusal, Timeline,
    entry::{Cut, Side},
    is_too_far,
    refusal::Remedy,
};

/// What an entry should have said.
///
/// The etag that the service checks is that of the entry; it also sees to it that a
/// [`Slip`] is corrected by those who may. Neighbours whose boundary follows are not
/// checked: their dates follow from this entry's.
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

/// A correction of whether an entry has ended, or has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slip {
    /// It was said to have ended.
    pub(crate) ended: bool,
    /// It was said to have begun.
    pub(crate) begun: bool,
    /// Whether no other entry of the timeline begins after it.
    pub(crate) is_last: bool,
}

impl Timeline {
    /// Overwrites the value of an entry, or its dates, or both.
    pub(crate) fn correct(&self, command: CorrectEntry) -> Result<Decision, Refusal> {
        let slip = self.slip(&command)?;
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
        if self.status(entry) == EntryStatus::Past && !correct_history && slip.is_none() {
            return Err(Refusal::PastNeedsFlag(id));
        }
        let outcome = if value.is_some() { Outcome::Corrected } else { Outcome::DatesChanged };
        let mut events = Vec::new();
        let mut after = match period {
            Some(period) => self.with_dates(entry, period, slip)?,
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

    /// Whether a correction says that an entry which has ended has not, or that one
    /// which has begun has not. Of entries that have begun it must be the last.
    pub(crate) fn slip(&self, command: &CorrectEntry) -> Result<Option<Slip>, Refusal> {
        let entry = self.entry(command.id)?;
        let Some(period) = command.period else { return Ok(None) };
        let (old, new) = (self.status(entry), period.status(self.today));
        let mut later = self.entries.iter().filter(|other| entry.place() < other.place());
        let is_slip = period.is_valid()
            && matches!(
                (old, new),
                (EntryStatus::Past, EntryStatus::Current | EntryStatus::Scheduled)
                    | (EntryStatus::Current, EntryStatus::Scheduled)
            )
            && later.clone().all(|other| self.status(other) == EntryStatus::Scheduled);
        let slip = Slip {
            ended: old == EntryStatus::Past,
            begun: new == EntryStatus::Scheduled,
            is_last: later.next().is_none(),
        };
        Ok(is_slip.then_some(slip))
    }

    /// The timeline when `entry` has `period`; no entry can be passed.
    fn with_dates(
        &self,
        entry: &Entry,
        period: Period,
        slip: Option<Slip>,
    ) -> Result<Self, Refusal> {
        self.check_dates(entry, period, slip)?;
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
        if self.moved(&after).any(too_far) { Err(Refusal::TooFar) } else { Ok(after) }
    }

    /// What the dates of an entry may become, whatever its neighbours are.
    fn check_dates(
        &self,
        entry: &Entry,
        period: Period,
        slip: Option<Slip>,
    ) -> Result<(), Refusal> {
        if !period.is_valid() {
            return Err(Refusal::PeriodInvalid(period));
        }
        let ends = entry.period.to.is_none() && period.to.is_some();
        if self.key.is_contiguous() && ends {
            return Err(Refusal::NameCannotEnd);
        }
        // To end, to begin and to be planned are changes of the world: other
        // commands record them. That it was not so is a correction.
        if period.status(self.today) != self.status(entry) && slip.is_none() {
            return Err(self.status_would_change(entry, period));
        }
        let begun = slip.is_some_and(|slip| slip.begun);
        match self.scheduled() {
            Some(scheduled) if begun => Err(Refusal::ScheduledExists(scheduled.id)),
            None if begun && self.is_first_name(entry) => Err(Refusal::OnlyName(entry.id)),
            _ => Ok(()),
        }
    }

    /// Which call does what the dates say.
    fn status_would_change(&self, entry: &Entry, period: Period) -> Refusal {
        let remedy = match (self.status(entry), period.status(self.today)) {
            (EntryStatus::Scheduled, _) => Remedy::BeginEarlier,
            (EntryStatus::Past, _) => Remedy::HoldAgain,
            _ if self.key.is_contiguous() => Remedy::FollowEarlier,
            _ => Remedy::End,
        };
        Refusal::StatusWouldChange(entry.id, remedy)
    }

    /// Names have no gaps: the boundaries with the names before and after move along.
    fn with_name_dates(&self, entry: &Entry, period: Period) -> Result<Self, Refusal> {
        let mut after = self.clone();
        let mut swallowed = Vec::new();
        if period.from != entry.period.from {
            let before = self.touching_before(entry);
            let keeps_days =
                |before: &Entry| period.from.is_some() && before.period.from < period.from;
            swallowed.extend(before.filter(|before| !keeps_days(before)).map(|before| before.id));
            if let Some(entry) = after.find_mut(entry.id) {
                entry.begin(period.from);
            }
        }
        if let (Some(next), true) = (self.touching_after(entry), period.to != entry.period.to) {
            let to = period.to.filter(|to| next.period.to.is_none_or(|end| *to < end));
            match (to, after.find_mut(next.id)) {
                (Some(to), Some(next)) => next.cut(Side::Start, entry.id, to),
                _ => swallowed.push(next.id),
            }
        }
        if !swallowed.is_empty() {
            return Err(Refusal::Swallows(swallowed));
        }
        after.settle();
        Ok(after)
    }

    /// Where gaps may be, a neighbour gives way only where the two would overlap.
    fn with_own_dates(&self, entry: &Entry, period: Period) -> Result<Self, Refusal> {
        let mut after = self.clone();
        let mut swallowed = Vec::new();
        let (mut before, mut later) = (None, None);
        let moves_start = period.from != entry.period.from;
        for other in self.entries.iter().filter(|other| other.id != entry.id) {
            let given = if other.place() < entry.place() {
                before = Some(other);
                match period.from {
                    // An unknown start says nothing about the entries before.
                    None if moves_start => Given::All,
                    _ => self.give_end(other, period),
                }
            } else {
                later = later.or(Some(other));
                self.give_start(other, period)
            };
            match (given, after.find_mut(other.id)) {
                (Given::Nothing, _) | (_, None) => {}
                (Given::Days(side, at), Some(other)) => other.cut(side, entry.id, at),
                (Given::All, Some(other)) => swallowed.push(other.id),
            }
        }
        if !swallowed.is_empty() {
            return Err(Refusal::Swallows(swallowed));
        }
        // Until what is scheduled begins, nothing has ended the one before.
        let waits = |before: &&Entry| moves_start && is_closed_by(before, entry.id);
        if let (Some(from), Some(before)) = (period.from, before.filter(waits))
            && self.today < from
        {
            after.cut_end(before.id, entry.id, from);
        }
        if let Some(corrected) = after.find_mut(entry.id) {
            if moves_start {
                corrected.begin(period.from);
            }
            if period.to != entry.period.to {
                corrected.end(period.to, later);
            }
        }
        after.settle();
        after.check_room(entry.id)?;
        Ok(after)
    }

    /// What an entry gives of its last days to one after it that has `period`.
    fn give_end(&self, other: &Entry, period: Period) -> Given {
        let passed = period.to.is_some_and(|to| Some(to) <= other.period.known().from);
        match period.from {
            _ if passed => Given::All,
            _ if !self.collide(other, period) => Given::Nothing,
            Some(at) if other.period.from.is_none_or(|from| from < at) => {
                Given::Days(Side::End, at)
            }
            _ => Given::All,
        }
    }

    /// What an entry gives of its first days to one before it that has `period`.
    fn give_start(&self, other: &Entry, period: Period) -> Given {
        let passed = other.period.to.is_some() && other.period.to <= period.known().from;
        if passed {
            return Given::All;
        }
        if !self.collide(other, period) {
            return Given::Nothing;
        }
        match period.to {
            Some(at) if other.period.from.is_some() && other.period.contains(at) => {
                Given::Days(Side::Start, at)
            }
            _ => Given::All,
        }
    }
}

/// Whether `entry` ends only because `by` was to begin there.
fn is_closed_by(entry: &Entry, by: Uuid) -> bool {
    let ends = |cut: &Cut| cut.side == Side::End && cut.by == by && Some(cut.at) == entry.period.to;
    entry.cuts.iter().any(ends)
}

/// What an entry gives to another one whose dates are corrected.
enum Given {
    Nothing,
    Days(Side, NaiveDate),
    All,
}

impl Entry {
    /// It begins on another day than was thought.
    fn begin(&mut self, from: Option<NaiveDate>) {
        self.uncut_all(Side::Start);
        self.own.from = from;
    }

    fn begins_by(&self, day: NaiveDate) -> bool {
        self.period.from.is_some_and(|from| from <= day)
    }

    /// It ends on another day than was thought. When it was closed, and `next` gives
    /// way or begins there, it still is: then its own end is as it was, unless it is
    /// earlier than that.
    fn end(&mut self, to: Option<NaiveDate>, next: Option<&Entry>) {
        let meets = |next: &&Entry| to.is_some_and(|to| next.begins_by(to));
        match (to, next.filter(meets)) {
            (Some(to), Some(next)) if self.is_closed() => {
                self.own.to = self.own.to.filter(|own| to <= *own);
                self.cuts.retain(|cut| cut.side == Side::Start || to <= cut.at);
                self.cut(Side::End, next.id, to);
            }
            _ => {
                self.uncut_all(Side::End);
                self.own.to = to;
            }
        }
    }
}
