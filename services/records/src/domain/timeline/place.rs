//! Laying out entries that are given with their dates: those of new records and
//! of imports. Nothing that is there is rewritten.

use chrono::NaiveDate;
use shared::{
    pb::records::EntryStatus,
    rules::{date::Period, value::Value},
};
use uuid::Uuid;

use super::{Entry, Refusal, collide, is_too_far};

/// What becomes of an imported entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It is added.
    Added,
    /// An equal entry, with the same value and dates, stands there already.
    Equal(Uuid),
}

/// Finds the place of an imported value among the `entries` of its timeline.
/// `taken` are equal entries that are not to be matched again.
pub(crate) fn place(
    entries: &[Entry],
    value: &Value,
    period: Period,
    today: NaiveDate,
    taken: impl Fn(Uuid) -> bool,
) -> Result<Placement, Refusal> {
    let equal =
        |entry: &&Entry| entry.value == *value && entry.period == period && !taken(entry.id);
    if let Some(equal) = entries.iter().find(equal) {
        return Ok(Placement::Equal(equal.id));
    }
    let overlapping = entries.iter().filter(|entry| collide(entry.period, period, today));
    let overlapping: Vec<Uuid> = overlapping.map(|entry| entry.id).collect();
    if !overlapping.is_empty() {
        return Err(Refusal::Overlap(overlapping));
    }
    check_start(entries, period, today)?;
    Ok(Placement::Added)
}

/// A start in the future must be near, and the only one of its timeline.
fn check_start(entries: &[Entry], period: Period, today: NaiveDate) -> Result<(), Refusal> {
    if period.status(today) != EntryStatus::Scheduled {
        return Ok(());
    }
    if period.from.is_some_and(|from| is_too_far(from, today)) {
        return Err(Refusal::TooFar);
    }
    let scheduled = |entry: &&Entry| entry.period.status(today) == EntryStatus::Scheduled;
    match entries.iter().find(scheduled) {
        Some(entry) => Err(Refusal::ScheduledExists(entry.id)),
        None => Ok(()),
    }
}

/// Ends each open period where the next one begins: how the addresses of a new
/// record are given. Answers in the order of `periods`.
pub(crate) fn close_at_next(periods: &[Period]) -> Vec<Period> {
    let end = |period: &Period| {
        let later = periods.iter().filter_map(|other| other.from);
        later.filter(|from| period.from.is_none_or(|own| own < *from)).min()
    };
    let closed =
        |period: &Period| Period { from: period.from, to: period.to.or_else(|| end(period)) };
    periods.iter().map(closed).collect()
}
