//! Why a database does not take writes, as far as its writers know.

use std::{
    array,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::Outage;

/// How long the database counts as not taking writes after a failed write. The next
/// successful write does not end this: a write without changes succeeds on a full disk.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The failures of writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Writes that failed, for each outage.
    failed: [AtomicU64; Outage::ALL.len()],
    /// Why the database itself refused a write, and when it did so last.
    last: Mutex<Option<(Outage, Instant)>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { failed: array::from_fn(|_| AtomicU64::new(0)), last: Mutex::default() }
    }
}

impl Trouble {
    /// A write has failed.
    pub(super) fn failed(&self, outage: Outage) {
        for (one, count) in Outage::ALL.iter().zip(&self.0.failed) {
            if *one == outage {
                count.fetch_add(1, Relaxed);
            }
        }
        if outage.of_the_database().is_some() {
            self.set(Some((outage, Instant::now())));
        }
    }

    /// The database was asked whether it is read-only.
    pub(super) fn is_read_only(&self, read_only: bool) {
        if read_only {
            self.set(Some((Outage::ReadOnly, Instant::now())));
        } else if self.now() == Some(Outage::ReadOnly) {
            self.set(None);
        }
    }

    fn set(&self, last: Option<(Outage, Instant)>) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    /// Why the database does not take writes.
    pub(super) fn now(&self) -> Option<Outage> {
        let last = *self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(_, at)| at.elapsed() < REMEMBERED).map(|(outage, _)| outage)
    }

    /// How many writes failed so far, for each outage.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Outage, u64)> {
        let counts = self.0.failed.iter().map(|count| count.load(Relaxed));
        Outage::ALL.into_iter().zip(counts)
    }
}
