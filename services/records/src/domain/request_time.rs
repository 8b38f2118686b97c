//! The time of a transaction.

use chrono::{DateTime, NaiveDate, Utc};

/// The time of a transaction: the instant, and the day in the time zone of the practice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTime {
    pub(crate) now: DateTime<Utc>,
    pub(crate) today: NaiveDate,
}
