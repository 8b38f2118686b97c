//! How much imports have brought, so that the database is told in time.
//!
//! The planner of PostgreSQL chooses by what it learned last. Its housekeeping looks
//! once a minute; an import fills empty tables in seconds, and what is planned for a
//! handful of rows reads all of them then, again and again: 100,000 records took 44
//! seconds instead of 24.

use std::sync::atomic::{AtomicU64, Ordering};

/// After so many records the database looks first; then each time there are so many
/// times as many.
const FIRST: u64 = 1_000;
const TIMES: u64 = 4;

/// The records that came by imports since this replica began.
#[derive(Debug)]
pub(crate) struct Growth {
    records: AtomicU64,
    look_at: AtomicU64,
}

impl Default for Growth {
    fn default() -> Self {
        Self { records: AtomicU64::new(0), look_at: AtomicU64::new(FIRST) }
    }
}

impl Growth {
    /// Counts more records; whether it is time to look.
    pub(super) fn add(&self, records: usize) -> bool {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        let all = self.records.fetch_add(records, Ordering::Relaxed).saturating_add(records);
        let look_at = self.look_at.load(Ordering::Relaxed);
        let next = all.saturating_mul(TIMES);
        // Of those who are there at the same time, one looks.
        let exchange =
            || self.look_at.compare_exchange(look_at, next, Ordering::Relaxed, Ordering::Relaxed);
        all >= look_at && exchange().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_more_seldom_the_more_there_is() {
        let growth = Growth::default();
        let looks: Vec<usize> = (1..=100).filter(|_| growth.add(1_000)).collect();
        assert_eq!(looks, [1, 4, 16, 64]);
    }
}
