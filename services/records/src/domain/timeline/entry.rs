//! Entries: the dated values of a timeline.

use chrono::NaiveDate;
use concord_core::rules::{date::Period, value::Value};
use uuid::Uuid;

use super::key::TimelineKey;

/// A dated value of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: Uuid,
    /// The client or person.
    pub(crate) owner: Uuid,
    pub(crate) timeline: TimelineKey,
    pub(crate) value: Value,
    /// The period in which it holds: the declared dates without the cuts.
    pub(crate) period: Period,
    /// The dates that were given for this entry: by the call that added it, `EndEntry`, an
    /// import or a correction. They become effective again when the entries that cut them
    /// are cancelled or rescinded.
    ///
    /// A name ends where the next one begins. The declared end of a name only marks that it
    /// was added as a past name.
    pub(crate) declared: Period,
    /// The cuts by other entries, sorted. Each entry cuts a side once at most.
    pub(crate) cuts: Vec<Cut>,
    /// The next day on which its status changes. Updated in the transaction that publishes
    /// the status change, so that it is published once.
    pub(crate) status_changes_on: Option<NaiveDate>,
}

/// A cut: another entry takes the place of the first or the last days of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cut {
    pub(crate) side: Side,
    /// The start or end of the entry because of the cut.
    pub(crate) at: NaiveDate,
    /// The entry that cuts.
    pub(crate) by: Uuid,
}

/// A side of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Start,
    End,
}

impl Entry {
    /// A new entry with declared dates.
    pub(crate) fn new(
        id: Uuid,
        owner: Uuid,
        timeline: TimelineKey,
        value: Value,
        period: Period,
        today: NaiveDate,
    ) -> Self {
        let status_changes_on = next_status_change(period, today);
        Self {
            id,
            owner,
            timeline,
            value,
            period,
            declared: period,
            cuts: Vec::new(),
            status_changes_on,
        }
    }

    /// Makes the end implicit: it is only the start of the next entry.
    #[must_use]
    pub(crate) fn with_implicit_end(self) -> Self {
        Self { declared: Period { to: None, ..self.declared }, ..self }
    }

    /// True if `next` begins on the day on which this entry ends.
    pub(super) fn touches(&self, next: &Self) -> bool {
        self.period.to.is_some() && self.period.to == next.period.from
    }

    /// True if it conflicts with an entry of `period` on the same timeline. Of names, only
    /// the earliest can have an unknown start, which is before all days.
    pub(super) fn collides(&self, period: Period) -> bool {
        if self.timeline.is_contiguous() {
            self.period.overlaps(&period)
        } else {
            self.period.collides(&period)
        }
    }

    /// The sort key among the entries of its timeline. On timelines with gaps, an unknown
    /// start sorts after all entries that end before this entry.
    pub(crate) fn sort_key(&self) -> (Option<NaiveDate>, Uuid) {
        let from =
            if self.timeline.is_contiguous() { self.period.from } else { self.period.known().from };
        (from, self.id)
    }

    /// The declared dates without the cuts.
    pub(super) fn trimmed_period(&self) -> Period {
        let from = self.cuts_at(Side::Start).chain(self.declared.from).max();
        let to = self.cuts_at(Side::End).chain(self.declared.to).min();
        Period { from, to }
    }

    /// The start after the entry `before`. Names have no gaps, so a cut by the previous name
    /// takes precedence over the declared start and all other cuts, which become effective
    /// again when that name is removed.
    pub(super) fn start_after(&self, before: Option<Uuid>) -> Option<NaiveDate> {
        let by_it = |cut: &&Cut| cut.side == Side::Start && Some(cut.by) == before;
        let cut = self.cuts.iter().find(by_it).filter(|_| self.timeline.is_contiguous());
        cut.map_or_else(|| self.trimmed_period().from, |cut| Some(cut.at))
    }

    /// Reconciles the declared dates and the cuts with the period. `before` is the previous
    /// entry, and `next` begins where this entry ends.
    pub(super) fn reconcile(&mut self, before: Option<Uuid>, next: Option<Uuid>) {
        let Period { from, to } = self.period;
        if self.start_after(before) != from {
            self.remove_cuts(Side::Start);
            self.declared.from = from;
        }
        if self.timeline.is_contiguous() || self.trimmed_period().to == to {
            return;
        }
        self.cuts.retain(|cut| cut.side == Side::Start || to.is_some_and(|to| to < cut.at));
        match (to, next) {
            (Some(to), Some(next)) if self.declared.to.is_none_or(|own| to < own) => {
                self.cut(Side::End, next, to);
            }
            _ => {
                self.remove_cuts(Side::End);
                self.declared.to = to;
            }
        }
    }

    fn cuts_at(&self, side: Side) -> impl Iterator<Item = NaiveDate> {
        self.cuts.iter().filter(move |cut| cut.side == side).map(|cut| cut.at)
    }

    /// True if its end is implicit: it was not declared.
    pub(super) fn is_closed(&self) -> bool {
        self.period.to.is_some() && self.declared.to != self.period.to
    }

    /// True if the entry `by` has cut a side.
    pub(super) fn is_cut(&self, side: Side, by: Uuid) -> bool {
        self.cuts.iter().any(|cut| cut.side == side && cut.by == by)
    }

    /// Cuts the days beyond `at` for the entry `by`.
    pub(super) fn cut(&mut self, side: Side, by: Uuid, at: NaiveDate) {
        self.remove_cut(side, by);
        self.cuts.push(Cut { side, at, by });
        self.cuts.sort_unstable();
    }

    /// Removes the cut of a side by the entry `by`.
    pub(super) fn remove_cut(&mut self, side: Side, by: Uuid) {
        self.cuts.retain(|cut| cut.side != side || cut.by != by);
    }

    /// Removes all cuts of a side.
    pub(super) fn remove_cuts(&mut self, side: Side) {
        self.cuts.retain(|cut| cut.side != side);
    }
}

/// The next day after `today` on which the status of an entry with these dates changes.
pub(super) fn next_status_change(period: Period, today: NaiveDate) -> Option<NaiveDate> {
    [period.from, period.to].into_iter().flatten().find(|day| today < *day)
}
