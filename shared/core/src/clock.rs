//! The clock: instants in whole microseconds, and the current date.
//!
//! Only this module reads the system time, so that a test can fix it. Instants have
//! microseconds because PostgreSQL stores no more.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, SubsecRound as _, Utc};
use chrono_tz::Tz;

/// A source of the current time. Cheap to clone; all clones of a fixed clock share its time.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    time_zone: Tz,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Fixed(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// The system clock; `time_zone` defines the start of a day.
    pub fn system(time_zone: Tz) -> Self {
        Self { source: Source::System, time_zone }
    }

    /// A fixed clock in the time zone of London, for tests. [`Clock::set`] changes its time.
    pub fn fixed(now: DateTime<Utc>) -> Self {
        let source = Source::Fixed(Arc::new(Mutex::new(now)));
        Self { source, time_zone: Tz::Europe__London }
    }

    /// Sets the time of a fixed clock. No effect on the system clock.
    pub fn set(&self, to: DateTime<Utc>) {
        if let Source::Fixed(now) = &self.source {
            *now.lock().unwrap_or_else(PoisonError::into_inner) = to;
        }
    }

    /// The current instant, in whole microseconds.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.source {
            #[expect(
                clippy::disallowed_methods,
                reason = "the only place that reads the system time"
            )]
            Source::System => Utc::now().trunc_subsecs(6),
            Source::Fixed(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The current date in the time zone of the server.
    pub fn today(&self) -> NaiveDate {
        self.now().with_timezone(&self.time_zone).date_naive()
    }

    /// The time zone of dates.
    pub fn time_zone(&self) -> Tz {
        self.time_zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn today_uses_the_time_zone_in_summer() {
        let clock = Clock::fixed("2026-06-30T23:30:00Z".parse().unwrap());
        assert_eq!(clock.today(), NaiveDate::from_ymd_opt(2026, 7, 1).unwrap());
    }
}
