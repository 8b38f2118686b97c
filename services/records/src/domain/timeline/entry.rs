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
    /// When it holds. It ends on its own end or where the next one begins,
    /// whichever is earlier.
    pub(crate) period: Period,
    /// The end that was given for this entry itself, by `EndEntry`, an import or
    /// a correction. Without one it ends only because the next entry begins, and
    /// holds again should that one be cancelled or rescinded.
    pub(crate) own_to: Option<NaiveDate>,
    /// The midnight that changes its status next. It is moved on in the
    /// transaction that tells the other products, so that they hear it once.
    pub(crate) turns_on: Option<NaiveDate>,
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
        Self { id, owner, timeline, value, period, own_to: period.to, turns_on }
    }

    /// The same entry, when its end is only the start of the next one.
    #[must_use]
    pub(crate) fn closed_by_next(self) -> Self {
        Self { own_to: None, ..self }
    }

    /// Whether `next` begins on the day on which this one ends.
    pub(super) fn touches(&self, next: &Self) -> bool {
        self.period.to.is_some() && self.period.to == next.period.from
    }

    /// What its own end becomes when its end moves to `to`: it moves along,
    /// unless the entry ends because the next one begins. An end of its own that
    /// lies before the new one is out of date.
    pub(super) fn own_to_after_move(&self, to: Option<NaiveDate>) -> Option<NaiveDate> {
        if self.own_to == self.period.to {
            to
        } else {
            self.own_to.filter(|own| to.is_some_and(|to| to <= *own))
        }
    }
}

/// The next midnight after `today` that changes the status of an entry with
/// these dates.
pub(super) fn next_turn(period: Period, today: NaiveDate) -> Option<NaiveDate> {
    [period.from, period.to].into_iter().flatten().find(|day| today < *day)
}
