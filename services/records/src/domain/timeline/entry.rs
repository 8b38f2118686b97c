//! One dated value on a timeline.

use chrono::NaiveDate;
use shared::rules::{date::Period, value::Value};
use uuid::Uuid;

use super::TimelineKey;

/// One dated value on a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: Uuid,
    /// The client or person.
    pub(crate) owner: Uuid,
    pub(crate) timeline: TimelineKey,
    pub(crate) value: Value,
    /// When it holds: its own dates, less what other entries have cut off.
    pub(crate) period: Period,
    /// The dates that were given for this entry itself: when it was added, by
    /// `EndEntry`, an import or a correction. They hold again when the entries that
    /// cut them are cancelled or rescinded.
    ///
    /// A name ends where the next one begins; its own end says only that it was
    /// added as a past name.
    pub(crate) own: Period,
    /// What other entries have cut off, each once at either side, in order.
    pub(crate) cuts: Vec<Cut>,
    /// The midnight that changes its status next. It is moved on in the
    /// transaction that tells the other products, so that they hear it once.
    pub(crate) turns_on: Option<NaiveDate>,
}

/// Days that an entry has lost to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    pub(crate) side: Side,
    /// Where the entry begins, or ends, because of it.
    pub(crate) at: NaiveDate,
    /// The other entry.
    pub(crate) by: Uuid,
}

/// A side of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Start,
    End,
}

impl Entry {
    /// A new entry; its end, when it has one, is its own.
    pub(crate) fn new(
        id: Uuid,
        owner: Uuid,
        timeline: TimelineKey,
        value: Value,
        period: Period,
        today: NaiveDate,
    ) -> Self {
        let turns_on = next_turn(period, today);
        Self { id, owner, timeline, value, period, own: period, cuts: Vec::new(), turns_on }
    }

    /// The same entry, when its end is only the start of the next one.
    #[must_use]
    pub(crate) fn closed_by_next(self) -> Self {
        Self { own: Period { to: None, ..self.own }, ..self }
    }

    /// Whether `next` begins on the day on which this one ends.
    pub(super) fn touches(&self, next: &Self) -> bool {
        self.period.to.is_some() && self.period.to == next.period.from
    }

    /// Whether it cannot have its days beside an entry of `period` on the same
    /// timeline. Of names the earliest alone has an unknown start, which is before
    /// all days.
    pub(super) fn collides(&self, period: Period) -> bool {
        if self.timeline.is_contiguous() {
            self.period.overlaps(&period)
        } else {
            self.period.collides(&period)
        }
    }

    /// Its place among the entries of its timeline. Where gaps may be, an unknown
    /// start is after all that end before the entry does.
    pub(crate) fn place(&self) -> (Option<NaiveDate>, Uuid) {
        let from =
            if self.timeline.is_contiguous() { self.period.from } else { self.period.known().from };
        (from, self.id)
    }

    /// Its own dates, less what was cut off.
    pub(super) fn left(&self) -> Period {
        let from = self.cuts_at(Side::Start).chain(self.own.from).max();
        let to = self.cuts_at(Side::End).chain(self.own.to).min();
        Period { from, to }
    }

    /// Where it begins behind the entry `before`. Names have no gaps, so a cut by the
    /// name before takes precedence over the own start and over all other cuts, which
    /// hold again when that name is removed.
    pub(super) fn start_after(&self, before: Option<Uuid>) -> Option<NaiveDate> {
        let by_it = |cut: &&Cut| cut.side == Side::Start && Some(cut.by) == before;
        let cut = self.cuts.iter().find(by_it).filter(|_| self.timeline.is_contiguous());
        cut.map_or_else(|| self.left().from, |cut| Some(cut.at))
    }

    /// Makes its own dates and its cuts say why it has its period; `before` is the entry
    /// before, and `next` begins where it ends.
    pub(super) fn explain(&mut self, before: Option<Uuid>, next: Option<Uuid>) {
        let Period { from, to } = self.period;
        if self.start_after(before) != from {
            self.uncut_all(Side::Start);
            self.own.from = from;
        }
        if self.timeline.is_contiguous() || self.left().to == to {
            return;
        }
        self.cuts.retain(|cut| cut.side == Side::Start || to.is_some_and(|to| to < cut.at));
        match (to, next) {
            (Some(to), Some(next)) if self.own.to.is_none_or(|own| to < own) => {
                self.cut(Side::End, next, to);
            }
            _ => {
                self.uncut_all(Side::End);
                self.own.to = to;
            }
        }
    }

    fn cuts_at(&self, side: Side) -> impl Iterator<Item = NaiveDate> {
        self.cuts.iter().filter(move |cut| cut.side == side).map(|cut| cut.at)
    }

    /// Whether its end is not its own.
    pub(super) fn is_closed(&self) -> bool {
        self.period.to.is_some() && self.own.to != self.period.to
    }

    /// Whether the entry `by` has cut a side.
    pub(super) fn is_cut(&self, side: Side, by: Uuid) -> bool {
        self.cuts.iter().any(|cut| cut.side == side && cut.by == by)
    }

    /// Loses the days beyond `at` to the entry `by`.
    pub(super) fn cut(&mut self, side: Side, by: Uuid, at: NaiveDate) {
        self.uncut(side, by);
        self.cuts.push(Cut { side, at, by });
        self.cuts.sort_unstable();
    }

    /// Has no longer lost days to the entry `by`.
    pub(super) fn uncut(&mut self, side: Side, by: Uuid) {
        self.cuts.retain(|cut| cut.side != side || cut.by != by);
    }

    /// A side is not as it was, so that nothing is cut off it any more.
    pub(super) fn uncut_all(&mut self, side: Side) {
        self.cuts.retain(|cut| cut.side != side);
    }
}

/// The next midnight after `today` that changes the status of an entry with
/// these dates.
pub(super) fn next_turn(period: Period, today: NaiveDate) -> Option<NaiveDate> {
    [period.from, period.to].into_iter().flatten().find(|day| today < *day)
}
