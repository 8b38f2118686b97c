//! The time: instants in whole microseconds, and the practice's today.
//!
//! Nothing else in Concord asks the system for the time, so that a test can fix
//! it. Microseconds, because PostgreSQL keeps no more.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, SubsecRound as _, Utc};
use chrono_tz::Tz;

/// Tells the time. Cheap to clone; all clones of a fixed clock move together.
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
    /// The system's time; `time_zone` says when a day begins.
    pub fn system(time_zone: Tz) -> Self {
        Self { source: Source::System, time_zone }
    }

    /// A clock that stands still in London until [`Clock::set`] moves it.
    pub fn fixed(now: DateTime<Utc>) -> Self {
        let source = Source::Fixed(Arc::new(Mutex::new(now)));
        Self { source, time_zone: Tz::Europe__London }
    }

    /// Moves a fixed clock; the system's clock ignores it.
    pub fn set(&self, to: DateTime<Utc>) {
        if let Source::Fixed(now) = &self.source {
            *now.lock().unwrap_or_else(PoisonError::into_inner) = to;
        }
    }

    /// The present instant, in whole microseconds.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.source {
            #[expect(clippy::disallowed_methods, reason = "the one place that may ask")]
            Source::System => Utc::now().trunc_subsecs(6),
            Source::Fixed(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The calendar day that it is in the time zone of the server.
    pub fn today(&self) -> NaiveDate {
        self.now().with_timezone(&self.time_zone).date_naive()
    }

    /// The time zone that days are counted in.
    pub fn time_zone(&self) -> Tz {
        self.time_zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_summer_the_day_begins_an_hour_before_midnight_utc() {
        let clock = Clock::fixed("2026-06-30T23:30:00Z".parse().unwrap());
        assert_eq!(clock.today(), NaiveDate::from_ymd_opt(2026, 7, 1).unwrap());
    }
}
