//! Retries of idempotent calls, with exponential backoff and jitter.

use std::{error::Error as _, time::Duration};

use concord_core::rules::reason_code;
use concord_proto::pb::records::ErrorReason;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::CallError;

const INITIAL_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(5);

/// How long a command retries before it gives up: enough for a restart or a failover of a
/// service.
const MAX_ELAPSED: Duration = Duration::from_mins(2);

/// Exponential backoff with jitter for a series of failed calls.
#[derive(Debug)]
pub(crate) struct Backoff {
    max_elapsed: Option<Duration>,
    failing_since: Option<Instant>,
    delay: Duration,
}

impl Backoff {
    /// Gives up after two minutes without success.
    pub(crate) fn limited() -> Self {
        Self { max_elapsed: Some(MAX_ELAPSED), failing_since: None, delay: INITIAL_DELAY }
    }

    /// Never gives up.
    pub(crate) fn unlimited() -> Self {
        Self { max_elapsed: None, failing_since: None, delay: INITIAL_DELAY }
    }

    /// Resets the backoff after a success.
    pub(crate) fn reset(&mut self) {
        self.failing_since = None;
        self.delay = INITIAL_DELAY;
    }

    /// The delay before the next retry; none when the status is not retryable, or the maximum
    /// time has elapsed. Respects the retry delay of the server.
    pub(crate) fn next_delay(&mut self, status: &Status) -> Option<Duration> {
        if !is_retryable(status) {
            return None;
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if self.max_elapsed.is_some_and(|max| since.elapsed() >= max) {
            return None;
        }
        let delay = requested_delay(status).unwrap_or_default().max(self.delay);
        self.delay = (self.delay * 2).min(MAX_DELAY);
        Some(delay + jitter())
    }
}

/// Whether the error is transient, so that a retry may succeed.
fn is_retryable(status: &Status) -> bool {
    match status.code() {
        // Otherwise two subscribers of one subscription would take it over from each other
        // forever.
        Code::Aborted if has_reason(status, ErrorReason::SubscriptionTakenOver) => false,
        Code::Unavailable | Code::Aborted | Code::Cancelled => true,
        Code::ResourceExhausted => requested_delay(status).is_some(),
        // A status with a source is a connection error of this client. A status from a
        // service has no source.
        _ => status.source().is_some(),
    }
}

/// Whether the status has this error reason.
pub(super) fn has_reason(status: &Status, reason: ErrorReason) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == reason_code(reason))
}

fn requested_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

/// A random delay up to a quarter of a second, which spreads the retries of callers that
/// failed at the same time.
fn jitter() -> Duration {
    let tail = concord_core::ids::new_uuid().as_bytes().last().copied().unwrap_or_default();
    Duration::from_millis(u64::from(tail))
}

/// Observes retries, to report them.
pub(crate) trait RetryObserver {
    /// A call failed with this status, and is retried.
    fn retrying(&self, status: &Status);
}

/// Makes an idempotent call, and retries it with backoff while the error is retryable.
pub(crate) async fn with_retries<T>(
    observer: &impl RetryObserver,
    mut call: impl AsyncFnMut() -> Result<T, Status>,
) -> Result<T, CallError> {
    let mut backoff = Backoff::limited();
    loop {
        let status = match call().await {
            Ok(answer) => return Ok(answer),
            Err(status) => status,
        };
        let Some(delay) = backoff.next_delay(&status) else { return Err(status.into()) };
        observer.retrying(&status);
        tokio::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use concord_core::status::ApiError;
    use tonic_types::ErrorDetails;

    use super::*;

    fn exhausted(delay: Option<Duration>) -> Status {
        let mut details = ErrorDetails::new();
        details.set_retry_info(delay);
        Status::with_error_details(Code::ResourceExhausted, "later", details)
    }

    #[test]
    fn permanent_error_is_not_retryable() {
        for status in [Status::invalid_argument(""), Status::internal(""), exhausted(None)] {
            assert!(!is_retryable(&status), "{status:?}");
        }
    }

    #[test]
    fn subscription_takeover_is_not_retryable() {
        let aborted = |reason| Status::from(ApiError::new(Code::Aborted, reason, "aborted"));
        assert!(is_retryable(&aborted(ErrorReason::Conflict)));
        assert!(!is_retryable(&aborted(ErrorReason::SubscriptionTakenOver)));
    }

    #[test]
    fn connection_error_is_retryable() {
        let lost = Status::from_error(Box::new(std::io::Error::other("connection reset")));
        assert!(is_retryable(&lost));
        assert!(is_retryable(&Status::unavailable("draining")));
    }

    #[test]
    fn backoff_respects_the_retry_delay_of_the_server() {
        let requested = Duration::from_secs(30);
        let mut backoff = Backoff::limited();
        assert!(backoff.next_delay(&exhausted(Some(requested))).unwrap() >= requested);
    }

    #[test]
    fn limited_backoff_gives_up_and_unlimited_does_not() {
        let status = Status::unavailable("away");
        let mut expired = Backoff { max_elapsed: Some(Duration::ZERO), ..Backoff::limited() };
        assert!(expired.next_delay(&status).is_none());
        assert!(Backoff::unlimited().next_delay(&status).is_some());
    }

    #[test]
    fn delays_grow_until_reset() {
        let status = Status::unavailable("away");
        let mut backoff = Backoff::unlimited();
        for _ in 0..10 {
            backoff.next_delay(&status);
        }
        assert!(backoff.next_delay(&status).unwrap() >= MAX_DELAY);
        backoff.reset();
        assert!(backoff.next_delay(&status).unwrap() < MAX_DELAY);
    }
}
