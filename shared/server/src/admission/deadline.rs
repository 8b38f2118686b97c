//! The deadline of a call.
//!
//! The transport does not enforce the `grpc-timeout` header; this module does.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::{Instant, timeout_at};
use tonic::Code;

use concord_core::status::ApiError;
use concord_proto::pb::records::ErrorReason;

/// The header with the caller's timeout.
const TIMEOUT_HEADER: &str = "grpc-timeout";

/// The deadline of a call, by the caller's timeout or the server's maximum; none for an
/// upload without a timeout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Option<Instant>,
}

impl Deadline {
    /// The minimum of the caller's timeout and of the server's `longest` time, from `now`.
    pub(super) fn of(headers: &HeaderMap, longest: Option<Duration>, now: Instant) -> Self {
        let allowed = headers.get(TIMEOUT_HEADER).and_then(|text| parse(text.to_str().ok()?));
        let time = allowed.into_iter().chain(longest).min();
        Self { at: time.and_then(|time| now.checked_add(time)) }
    }

    /// Returns `true` if the deadline has passed.
    pub(super) fn has_passed(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// The earlier one of this deadline and `other`.
    pub(super) fn or_earlier(&self, other: Instant) -> Instant {
        self.at.map_or(other, |at| at.min(other))
    }

    /// The result of `work` if it completes before the deadline. The handler of a call
    /// continues after the deadline.
    pub(super) async fn limit<T>(&self, work: impl Future<Output = T>) -> Result<T, ApiError> {
        match self.at {
            Some(at) => timeout_at(at, work).await.map_err(|_| late()),
            None => Ok(work.await),
        }
    }
}

/// The error of a call whose message did not arrive in time.
pub(super) fn message_late() -> ApiError {
    exceeded("the message of the call did not arrive in time; the call was not started", "false")
}

/// The error of a call whose deadline passed before it was started.
pub(super) fn not_begun() -> ApiError {
    let message = "the deadline passed while the call was queued; it was not started";
    exceeded(message, "false")
}

/// The error of a call whose deadline passed while it ran.
fn late() -> ApiError {
    let message = "the deadline passed before the response; the call may still take effect: \
                   retry it with the same request_id to get its response";
    exceeded(message, "true")
}

fn exceeded(message: &str, begun: &str) -> ApiError {
    ApiError::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message)
        .with("begun", begun)
}

/// Parses a timeout of the gRPC protocol: at most eight digits and a unit. An invalid one
/// is ignored, as in other gRPC implementations.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 60 * 60)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_is_parsed_in_every_unit() {
        let read = [
            ("2H", Duration::from_hours(2)),
            ("3M", Duration::from_mins(3)),
            ("10S", Duration::from_secs(10)),
            ("250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ];
        for (text, time) in read {
            assert_eq!(parse(text), Some(time), "{text}");
        }
        for text in ["", "S", "100000000S", "1s", "-1S", "1.5S", "1µ", "S1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn earlier_deadline_applies() {
        let now = Instant::now();
        let at = |header: Option<&'static str>, longest: Option<u64>| {
            let value = header.map(http::HeaderValue::from_static);
            let headers = value
                .into_iter()
                .map(|value| (http::HeaderName::from_static(TIMEOUT_HEADER), value));
            let deadline = Deadline::of(&headers.collect(), longest.map(Duration::from_secs), now);
            deadline.at.map(|at| (at - now).as_secs())
        };
        assert_eq!(at(Some("5S"), Some(60)), Some(5));
        assert_eq!(at(Some("5H"), Some(60)), Some(60));
        assert_eq!(at(None, Some(60)), Some(60));
        assert_eq!(at(Some("5S"), None), Some(5));
        assert_eq!(at(Some("nonsense"), None), None);
        assert_eq!(at(Some("99999999H"), None), Some(99_999_999 * 3_600));
    }
}
