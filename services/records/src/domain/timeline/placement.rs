//! Placement of entries with given dates: of new records and of imports. Existing entries
//! are not changed.

use chrono::NaiveDate;
use concord_core::rules::{date::Period, value::Value};
use concord_proto::pb::records::EntryStatus;
use uuid::Uuid;

use super::{entry::Entry, error::TimelineError, limits::is_too_far, state::collide};

/// The placement of an imported entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It is added.
    Added,
    /// An entry with the same value and dates exists already.
    Equal(Uuid),
}

/// Places an imported value among the `entries` of its timeline. Entries for which `taken`
/// is true are not matched again.
pub(crate) fn place(
    entries: &[Entry],
    value: &Value,
    period: Period,
    today: NaiveDate,
    taken: impl Fn(Uuid) -> bool,
) -> Result<Placement, TimelineError> {
    let equal =
        |entry: &&Entry| entry.value == *value && entry.period == period && !taken(entry.id);
    if let Some(equal) = entries.iter().find(equal) {
        return Ok(Placement::Equal(equal.id));
    }
    let overlapping = entries.iter().filter(|entry| collide(entry.period, period, today));
    let overlapping: Vec<Uuid> = overlapping.map(|entry| entry.id).collect();
    if !overlapping.is_empty() {
        return Err(TimelineError::Overlap(overlapping));
    }
    check_start(entries, period, today)?;
    Ok(Placement::Added)
}

/// Checks a start in the future: it must not be too far ahead, and no other entry of the
/// timeline may be scheduled.
fn check_start(entries: &[Entry], period: Period, today: NaiveDate) -> Result<(), TimelineError> {
    if period.status(today) != EntryStatus::Scheduled {
        return Ok(());
    }
    if period.from.is_some_and(|from| is_too_far(from, today)) {
        return Err(TimelineError::TooFar);
    }
    let scheduled = |entry: &&Entry| entry.period.status(today) == EntryStatus::Scheduled;
    match entries.iter().find(scheduled) {
        Some(entry) => Err(TimelineError::ScheduledExists(entry.id)),
        None => Ok(()),
    }
}

/// Ends each open period where the next one begins, as for the addresses of a new record.
/// Returns them in the order of `periods`.
pub(crate) fn close_at_next(periods: &[Period]) -> Vec<Period> {
    let end = |period: &Period| {
        let later = periods.iter().filter_map(|other| other.from);
        later.filter(|from| period.from.is_none_or(|own| own < *from)).min()
    };
    let closed =
        |period: &Period| Period { from: period.from, to: period.to.or_else(|| end(period)) };
    periods.iter().map(closed).collect()
}
