//! The limits of timelines.

use chrono::{Days, NaiveDate};

/// Maximum start of an entry in the future, in days.
pub(crate) const MAX_DAYS_AHEAD: u64 = 366;

/// Maximum number of entries of a record, over all its timelines. With the longest
/// addresses, its image still fits in one message.
pub(crate) const MAX_ENTRIES: usize = 300;

/// True if `day` is too far in the future for the start of an entry.
pub(super) fn is_too_far(day: NaiveDate, today: NaiveDate) -> bool {
    today.checked_add_days(Days::new(MAX_DAYS_AHEAD)).is_some_and(|last| last < day)
}
