//! How fast an import goes, and when it will have ended.

use std::{collections::VecDeque, time::Duration};

/// The speed is that of this last while: long enough to be steady, short enough
/// to follow a phase that is slower.
const WINDOW: Duration = Duration::from_secs(10);

/// Remembers how many records were done when.
#[derive(Debug, Default)]
pub(crate) struct Pace(VecDeque<(Duration, i64)>);

impl Pace {
    /// Notes that `done` records are done at `at`, counted from any fixed
    /// instant.
    pub(crate) fn note(&mut self, at: Duration, done: i64) {
        self.0.push_back((at, done));
        // The oldest one stays until the next is as old as the window.
        while self.0.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= WINDOW) {
            self.0.pop_front();
        }
    }

    /// Records per second, lately; 0 while it is unknown.
    #[expect(clippy::cast_precision_loss, reason = "a speed for people")]
    pub(crate) fn per_second(&self) -> f64 {
        let (Some((from, before)), Some((to, after))) = (self.0.front(), self.0.back()) else {
            return 0.0;
        };
        let seconds = to.saturating_sub(*from).as_secs_f64();
        if seconds > 0.0 { ((after - before) as f64 / seconds).max(0.0) } else { 0.0 }
    }

    /// How long `left` records will take; `None` while it is unknown.
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    pub(crate) fn time_for(&self, left: i64) -> Option<Duration> {
        let speed = self.per_second();
        if speed <= 0.0 {
            return None;
        }
        Duration::try_from_secs_f64(left.max(0) as f64 / speed).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let mut pace = Pace::default();
        assert!(pace.time_for(5).is_none());
        for second in 0_i32..60 {
            let done = if second < 40 { 0 } else { i64::from(second - 40) * 100 };
            pace.note(Duration::from_secs(u64::from(second.unsigned_abs())), done);
        }
        assert!((pace.per_second() - 100.0).abs() < 0.1);
        assert_eq!(pace.time_for(1_000), Some(Duration::from_secs(10)));
    }
}
