//! Whether a database accepts writes, by the outcome of recent writes.

use std::{
    array,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::errors::Outage;

/// How long a failed write marks the database as rejecting writes. A successful write does
/// not end this, because a write without changes succeeds on a full disk.
const OUTAGE_TIME: Duration = Duration::from_secs(30);

/// The failed writes of a database.
#[derive(Clone, Debug, Default)]
pub(super) struct WriteHealth(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The number of failed writes, by outage.
    failed: [AtomicU64; Outage::ALL.len()],
    /// The last outage of the database itself, and its time.
    last: Mutex<Option<(Outage, Instant)>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { failed: array::from_fn(|_| AtomicU64::new(0)), last: Mutex::default() }
    }
}

impl WriteHealth {
    /// Records a failed write.
    pub(super) fn record_failure(&self, outage: Outage) {
        for (one, count) in Outage::ALL.iter().zip(&self.0.failed) {
            if *one == outage {
                count.fetch_add(1, Relaxed);
            }
        }
        if outage.database_cause().is_some() {
            self.set(Some((outage, Instant::now())));
        }
    }

    /// Records the result of a probe.
    pub(super) fn set_read_only(&self, read_only: bool) {
        if read_only {
            self.set(Some((Outage::ReadOnly, Instant::now())));
        } else if self.outage() == Some(Outage::ReadOnly) {
            self.set(None);
        }
    }

    fn set(&self, last: Option<(Outage, Instant)>) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    /// Why the database rejects writes, if known.
    pub(super) fn outage(&self) -> Option<Outage> {
        let last = *self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(_, at)| at.elapsed() < OUTAGE_TIME).map(|(outage, _)| outage)
    }

    /// The number of failed writes, by outage.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Outage, u64)> {
        let counts = self.0.failed.iter().map(|count| count.load(Relaxed));
        Outage::ALL.into_iter().zip(counts)
    }
}
