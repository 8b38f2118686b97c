//! Throughput and estimated time of an import.

use std::{collections::VecDeque, time::Duration};

/// The window of the throughput: long enough to be steady, short enough to follow a
/// slower phase.
const WINDOW: Duration = Duration::from_secs(10);

/// Samples of the number of processed records over time.
#[derive(Debug, Default)]
pub(crate) struct Throughput(VecDeque<(Duration, i64)>);

impl Throughput {
    /// Adds a sample: `done` records are processed at `at`, measured from any fixed
    /// instant.
    pub(crate) fn record(&mut self, at: Duration, done: i64) {
        self.0.push_back((at, done));
        // The oldest sample stays until the next one is as old as the window.
        while self.0.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= WINDOW) {
            self.0.pop_front();
        }
    }

    /// Records per second in the window; 0 while it is unknown.
    #[expect(clippy::cast_precision_loss, reason = "a speed for people")]
    pub(crate) fn per_second(&self) -> f64 {
        let (Some((from, before)), Some((to, after))) = (self.0.front(), self.0.back()) else {
            return 0.0;
        };
        let seconds = to.saturating_sub(*from).as_secs_f64();
        if seconds > 0.0 { ((after - before) as f64 / seconds).max(0.0) } else { 0.0 }
    }

    /// The estimated time for `left` records; `None` while it is unknown.
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    pub(crate) fn estimate(&self, left: i64) -> Option<Duration> {
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
    fn throughput_covers_the_last_seconds() {
        let mut throughput = Throughput::default();
        assert!(throughput.estimate(5).is_none());
        for second in 0_i32..60 {
            let done = if second < 40 { 0 } else { i64::from(second - 40) * 100 };
            throughput.record(Duration::from_secs(u64::from(second.unsigned_abs())), done);
        }
        assert!((throughput.per_second() - 100.0).abs() < 0.1);
        assert_eq!(throughput.estimate(1_000), Some(Duration::from_secs(10)));
    }
}
