//! Says in the log that something is turned away: not each time, or the log would
//! be what the server is busy with.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often the log is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What was turned away, and not told of yet.
#[derive(Debug)]
pub(super) struct TurnedAway {
    what: &'static str,
    untold: Mutex<Untold>,
}

#[derive(Debug, Default)]
struct Untold {
    count: u64,
    told: Option<Instant>,
}

impl TurnedAway {
    /// Nothing of `what` yet.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, untold: Mutex::default() }
    }

    /// Counts one more.
    pub(super) fn one_more(&self) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.count += 1;
        if untold.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            tracing::warn!(count = untold.count, "overloaded: {} are turned away", self.what);
            *untold = Untold { count: 0, told: Some(Instant::now()) };
        }
    }
}
