//! When a caller must have its answer.
//!
//! The only clock of a call: the transport below has none, and leaves the header with
//! the caller's time alone.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::{Instant, timeout_at};
use tonic::Code;

use crate::{pb::records::ErrorReason, status::Refusal};

/// The header with the time that a caller allows.
const TIMEOUT_HEADER: &str = "grpc-timeout";

/// The end of a caller's patience, or of the server's; none for an upload whose
/// caller has said nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Option<Instant>,
}

impl Deadline {
    /// The earlier one of the caller's and of the server's `longest` time, counted
    /// from `now`.
    pub(super) fn of(headers: &HeaderMap, longest: Option<Duration>, now: Instant) -> Self {
        let allowed = headers.get(TIMEOUT_HEADER).and_then(|text| parse(text.to_str().ok()?));
        let time = allowed.into_iter().chain(longest).min();
        Self { at: time.and_then(|time| now.checked_add(time)) }
    }

    /// Whether it is over.
    pub(super) fn has_passed(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// This, or another instant that is earlier.
    pub(super) fn or_earlier(&self, other: Instant) -> Instant {
        self.at.map_or(other, |at| at.min(other))
    }

    /// What `work` comes to, if it ends in time. The work of a call goes on when it
    /// does not.
    pub(super) async fn limit<T>(&self, work: impl Future<Output = T>) -> Result<T, Refusal> {
        match self.at {
            Some(at) => timeout_at(at, work).await.map_err(|_| late()),
            None => Ok(work.await),
        }
    }
}

/// The refusal of a call whose message has not come in time.
pub(super) fn message_late() -> Refusal {
    exceeded("the message of the call did not arrive in time; it was not begun", "false")
}

/// The refusal of a call whose time ran out before it was begun.
pub(super) fn not_begun() -> Refusal {
    let message = "the deadline passed while the call waited for its turn; it was not begun";
    exceeded(message, "false")
}

/// The answer to a call that takes too long.
fn late() -> Refusal {
    let message = "the deadline passed before the answer; the call may be done all the same: \
                   send it again with the same request_id to have its answer";
    exceeded(message, "true")
}

fn exceeded(message: &str, begun: &str) -> Refusal {
    Refusal::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message)
        .with("begun", begun)
}

/// At most eight digits and a unit. One that cannot be read is none, as everywhere
/// in gRPC.
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
    fn a_time_is_read_in_every_unit() {
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
    fn the_earlier_deadline_holds() {
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
