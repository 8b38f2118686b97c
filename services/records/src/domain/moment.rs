//! The time of a transaction.

use chrono::{DateTime, NaiveDate, Utc};

/// The instant, and the practice's day, that a transaction takes for the
/// present.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: DateTime<Utc>,
    pub(crate) today: NaiveDate,
}
