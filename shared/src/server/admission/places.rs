//! Places for calls at work, and for those that wait for their turn.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tonic::Code;

use super::deadline::{Deadline, not_begun};
use crate::{
    ids,
    pb::records::ErrorReason,
    server::limits::{Limits, MAX_OPEN_UPLOADS, MAX_WAIT, semaphore},
    status::Refusal,
};

/// When a call comes again that found no place; up to twice that, or all of them
/// would come together.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// The places of one server. Whoever waits longest is next.
#[derive(Debug)]
pub(super) struct Places {
    at_work: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        let at_work = Arc::new(semaphore(limits.calls.max(1)));
        Self { at_work, waiting: semaphore(limits.waiting_calls) }
    }

    /// Whether a call that came now would be refused.
    pub(super) fn are_full(&self) -> bool {
        self.waiting.available_permits() == 0 && self.at_work.available_permits() == 0
    }

    /// A place at work: at once, or after some time.
    ///
    /// # Errors
    ///
    /// When too many wait already, when it takes too long, or when the caller's
    /// deadline passes meanwhile.
    pub(super) async fn wait(&self, deadline: &Deadline) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = match Arc::clone(&self.at_work).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => self.wait_in_turn(deadline).await?,
        };
        // It may have come to an end together with the waiting.
        if deadline.has_passed() { Err(not_begun()) } else { Ok(place) }
    }

    async fn wait_in_turn(&self, deadline: &Deadline) -> Result<OwnedSemaphorePermit, Refusal> {
        let _waiting = self.waiting.try_acquire().map_err(|_| overloaded())?;
        let until = deadline.or_earlier(Instant::now() + MAX_WAIT);
        match timeout_at(until, Arc::clone(&self.at_work).acquire_owned()).await {
            Ok(place) => place.map_err(|closed| Refusal::internal(&closed)),
            Err(_) if deadline.has_passed() => Err(not_begun()),
            Err(_) => Err(overloaded()),
        }
    }
}

/// The server has more to do than it can. Another replica may have less, which is
/// why this is no `RESOURCE_EXHAUSTED`.
pub(super) fn overloaded() -> Refusal {
    let spread = ids::new_uuid().as_bytes().last().copied().unwrap_or_default();
    let spread = COME_AGAIN * u32::from(spread) / 256;
    Refusal::new(
        Code::Unavailable,
        ErrorReason::Overloaded,
        "the service has too much to do just now; the call was not begun: send it again later",
    )
    .retry_after(COME_AGAIN + spread)
}

pub(super) fn too_many_uploads() -> Refusal {
    let message =
        format!("{MAX_OPEN_UPLOADS} uploads are open already; send this batch again in a moment");
    Refusal::limit_reached("open uploads", message, COME_AGAIN)
}
