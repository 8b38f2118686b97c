//! The schedule of ANALYZE during imports.
//!
//! The planner of PostgreSQL uses the statistics of the last ANALYZE. Autovacuum runs once
//! a minute, but an import fills empty tables in seconds. Plans for a few rows are then
//! sequential scans of many rows: 100,000 records took 44 seconds instead of 24.

use std::sync::atomic::{AtomicU64, Ordering};

/// Imported records before the first ANALYZE.
const FIRST: u64 = 1_000;
/// Growth of the number of records between two runs of ANALYZE.
const FACTOR: u64 = 4;

/// Counts the records that this replica has imported, and tells when ANALYZE is due.
#[derive(Debug)]
pub(crate) struct AnalyzeSchedule {
    records: AtomicU64,
    next: AtomicU64,
}

impl Default for AnalyzeSchedule {
    fn default() -> Self {
        Self { records: AtomicU64::new(0), next: AtomicU64::new(FIRST) }
    }
}

impl AnalyzeSchedule {
    /// Counts imported records. Returns true if ANALYZE is due.
    pub(super) fn add(&self, records: usize) -> bool {
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        let all = self.records.fetch_add(records, Ordering::Relaxed).saturating_add(records);
        let due_at = self.next.load(Ordering::Relaxed);
        let next = all.saturating_mul(FACTOR);
        // Of concurrent chunks, one runs ANALYZE.
        let exchange =
            || self.next.compare_exchange(due_at, next, Ordering::Relaxed, Ordering::Relaxed);
        all >= due_at && exchange().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn analyze_is_due_at_growing_intervals() {
        let schedule = AnalyzeSchedule::default();
        let due: Vec<usize> = (1..=100).filter(|_| schedule.add(1_000)).collect();
        assert_eq!(due, [1, 4, 16, 64]);
    }
}
