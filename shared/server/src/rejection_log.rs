//! A throttled log of rejected calls and connections.
//!
//! One line a rejection would cost more than the rejection itself under overload.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The minimum interval between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Counts the rejections of one kind, and logs the count at most once an interval.
#[derive(Debug)]
pub(super) struct RejectionLog {
    what: &'static str,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    count: u64,
    logged_at: Option<Instant>,
}

impl RejectionLog {
    /// A log of rejections of `what`, in the plural, with a count of 0.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, pending: Mutex::default() }
    }

    /// Counts a rejection.
    pub(super) fn record(&self) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.count += 1;
        if pending.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            tracing::warn!(count = pending.count, "overloaded: {} rejected", self.what);
            *pending = Pending { count: 0, logged_at: Some(Instant::now()) };
        }
    }
}
