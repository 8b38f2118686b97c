//! Which calls are sent again, and when.

use std::{error::Error as _, time::Duration};

use shared::{pb::records::ErrorReason, rules::reason_code};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{progress::Progress, refused::Refused};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a service may be away before a command gives up: enough to start it
/// anew, or to fail over.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often a call has failed in a row, and since when.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Option<Duration>,
    since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// Gives up after two minutes without success.
    pub(crate) fn limited() -> Self {
        Self { limit: Some(PATIENCE), since: None, pause: FIRST_PAUSE }
    }

    /// Never gives up.
    pub(crate) fn endless() -> Self {
        Self { limit: None, since: None, pause: FIRST_PAUSE }
    }

    /// Something went well.
    pub(crate) fn renew(&mut self) {
        self.since = None;
        self.pause = FIRST_PAUSE;
    }

    /// How long to wait before the call is sent again; none when it is not to
    /// be, because of what the status says or because it took too long.
    pub(crate) fn pause_after(&mut self, status: &Status) -> Option<Duration> {
        if !can_be_sent_again(status) {
            return None;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.limit.is_some_and(|limit| since.elapsed() >= limit) {
            return None;
        }
        let pause = asked_delay(status).unwrap_or_default().max(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(pause + jitter())
    }
}

/// Whether the same call may succeed a little later.
pub(crate) fn can_be_sent_again(status: &Status) -> bool {
    match status.code() {
        // By design, or two readers of one subscription would take it from each
        // other for ever.
        Code::Aborted if has_reason(status, ErrorReason::SubscriptionTakenOver) => false,
        Code::Unavailable | Code::Aborted | Code::Cancelled => true,
        Code::ResourceExhausted => asked_delay(status).is_some(),
        // A status that was made here, out of a broken connection: those from a
        // service have no source.
        _ => status.source().is_some(),
    }
}

/// Whether the service gave this reason.
pub(crate) fn has_reason(status: &Status, reason: ErrorReason) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == reason_code(reason))
}

fn asked_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

/// Spreads callers that failed together: up to a quarter of a second.
fn jitter() -> Duration {
    let tail = shared::ids::new_uuid().as_bytes().last().copied().unwrap_or_default();
    Duration::from_millis(u64::from(tail))
}

/// Makes a call, again and again while it may yet succeed. It must be one that
/// does no harm when it is made twice.
pub(crate) async fn until_answered<T>(
    progress: &Progress,
    mut call: impl AsyncFnMut() -> Result<T, Status>,
) -> Result<T, Refused> {
    let mut patience = Patience::limited();
    loop {
        let status = match call().await {
            Ok(answer) => return Ok(answer),
            Err(status) => status,
        };
        let Some(pause) = patience.pause_after(&status) else { return Err(status.into()) };
        progress.trouble(&status);
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use shared::status::Refusal;
    use tonic_types::ErrorDetails;

    use super::*;

    fn exhausted(delay: Option<Duration>) -> Status {
        let mut details = ErrorDetails::new();
        details.set_retry_info(delay);
        Status::with_error_details(Code::ResourceExhausted, "later", details)
    }

    #[test]
    fn a_refusal_is_not_sent_again() {
        for status in [Status::invalid_argument(""), Status::internal(""), exhausted(None)] {
            assert!(!can_be_sent_again(&status), "{status:?}");
        }
    }

    #[test]
    fn a_stream_that_was_taken_over_is_not_taken_back() {
        let aborted = |reason| Status::from(Refusal::new(Code::Aborted, reason, "aborted"));
        assert!(can_be_sent_again(&aborted(ErrorReason::Conflict)));
        assert!(!can_be_sent_again(&aborted(ErrorReason::SubscriptionTakenOver)));
    }

    #[test]
    fn a_lost_connection_is_tried_again() {
        let lost = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        assert!(can_be_sent_again(&lost));
        assert!(can_be_sent_again(&Status::unavailable("draining")));
    }

    #[test]
    fn the_delay_that_is_asked_for_is_kept() {
        let asked = Duration::from_secs(30);
        let mut patience = Patience::limited();
        assert!(patience.pause_after(&exhausted(Some(asked))).unwrap() >= asked);
    }

    #[test]
    fn patience_has_an_end_unless_it_is_endless() {
        let away = Status::unavailable("away");
        let mut spent = Patience { limit: Some(Duration::ZERO), ..Patience::limited() };
        assert!(spent.pause_after(&away).is_none());
        assert!(Patience::endless().pause_after(&away).is_some());
    }

    #[test]
    fn pauses_grow_until_something_goes_well() {
        let away = Status::unavailable("away");
        let mut patience = Patience::endless();
        for _ in 0..10 {
            patience.pause_after(&away);
        }
        assert!(patience.pause_after(&away).unwrap() >= LONGEST_PAUSE);
        patience.renew();
        assert!(patience.pause_after(&away).unwrap() < LONGEST_PAUSE);
    }
}
