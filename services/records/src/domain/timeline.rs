//! Timelines: which entries may stand beside each other.
//!
//! Periods are half-open calendar dates. The rules are those of the table in
//! `docs/history.md`; this module holds the part that imports and new records
//! need: entries are laid out, added, recognised, and nothing is rewritten.

use std::{fmt, str::FromStr};

use chrono::{Days, NaiveDate};
use shared::{
    pb::records::{AddressType, EntryStatus, ErrorReason},
    rules::{date::Period, terms::Term as _, value::Value},
};
use uuid::Uuid;

/// The farthest that an entry may begin in the future, in days.
pub(crate) const MAX_DAYS_AHEAD: u64 = 366;

/// Entries of one record at most, over all its timelines: with the longest
/// addresses, its image still fits one message.
pub(crate) const MAX_ENTRIES: usize = 300;

/// Which timeline of a record. The order is that in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TimelineKey {
    RegisteredName,
    TradingName,
    PersonName,
    Address(AddressType),
}

const ADDRESS_PREFIX: &str = "ADDRESS/";

impl fmt::Display for TimelineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RegisteredName => f.write_str("REGISTERED_NAME"),
            Self::TradingName => f.write_str("TRADING_NAME"),
            Self::PersonName => f.write_str("PERSON_NAME"),
            Self::Address(kind) => write!(f, "{ADDRESS_PREFIX}{}", kind.name()),
        }
    }
}

/// The text is not one that [`TimelineKey`] writes.
#[derive(Debug, thiserror::Error)]
#[error("not a timeline")]
pub(crate) struct UnknownTimeline;

impl FromStr for TimelineKey {
    type Err = UnknownTimeline;

    fn from_str(text: &str) -> Result<Self, UnknownTimeline> {
        match text {
            "REGISTERED_NAME" => Ok(Self::RegisteredName),
            "TRADING_NAME" => Ok(Self::TradingName),
            "PERSON_NAME" => Ok(Self::PersonName),
            _ => text
                .strip_prefix(ADDRESS_PREFIX)
                .and_then(|name| AddressType::parse(name).ok().flatten())
                .map(Self::Address)
                .ok_or(UnknownTimeline),
        }
    }
}

/// One dated value on a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: Uuid,
    /// The client or person.
    pub(crate) owner: Uuid,
    pub(crate) timeline: TimelineKey,
    pub(crate) value: Value,
    pub(crate) period: Period,
}

/// Why an entry cannot stand on a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It overlaps these entries.
    Overlap(Vec<Uuid>),
    /// One entry is scheduled already.
    ScheduledExists(Uuid),
    /// It would begin more than [`MAX_DAYS_AHEAD`] days from today.
    TooFar,
}

impl Refusal {
    pub(crate) fn reason(&self) -> ErrorReason {
        match self {
            Self::Overlap(_) => ErrorReason::PeriodOverlap,
            Self::ScheduledExists(_) => ErrorReason::ScheduledEntryExists,
            Self::TooFar => ErrorReason::EffectiveDateTooFar,
        }
    }
}

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
    let overlapping = entries.iter().filter(|entry| entry.period.overlaps(&period));
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
    let last_day = today.checked_add_days(Days::new(MAX_DAYS_AHEAD));
    if period.from > last_day {
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

#[cfg(test)]
mod tests;
