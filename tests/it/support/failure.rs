//! What a call that failed means for a caller who wants it done.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection broke, or there was none: the service said nothing.
    Cut,
    /// The service asks for the call again.
    Later,
    /// A newer stream has taken the subscription.
    TakenOver,
    /// The service will not do it.
    Refused,
}

/// Reads a status. What the service itself says always has an `ErrorInfo`.
pub(crate) fn failure(status: &Status) -> Failure {
    let details = status.get_error_details();
    let Some(info) = details.error_info() else {
        return match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled => Failure::Cut,
            // A transport that breaks in the middle of a message.
            Code::Internal if status.message().contains("h2 protocol error") => Failure::Cut,
            _ => Failure::Refused,
        };
    };
    match status.code() {
        Code::Unavailable | Code::Aborted if details.retry_info().is_some() => Failure::Later,
        Code::Aborted if info.reason == "SUBSCRIPTION_TAKEN_OVER" => Failure::TakenOver,
        _ => Failure::Refused,
    }
}
