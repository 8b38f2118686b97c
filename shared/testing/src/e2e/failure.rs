//! Classifies failed calls for a client that retries.

use std::time::Duration;

use tokio::time::sleep;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const RETRY_DELAY: Duration = Duration::from_millis(20);

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection broke or could not be made. There is no answer of the service.
    ConnectionLost,
    /// The service asks the client to retry, with `RetryInfo`.
    Retryable,
    /// A newer stream has taken over the subscription.
    TakenOver,
    /// The service rejects the call. A retry does not help.
    Rejected,
}

/// Classifies a status. Every status that the service itself sends has an `ErrorInfo`.
pub fn failure(status: &Status) -> Failure {
    let details = status.get_error_details();
    let Some(info) = details.error_info() else {
        return match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled => Failure::ConnectionLost,
            // A transport that breaks in the middle of a message.
            Code::Internal if status.message().contains("h2 protocol error") => {
                Failure::ConnectionLost
            }
            _ => Failure::Rejected,
        };
    };
    match status.code() {
        Code::Unavailable | Code::Aborted if details.retry_info().is_some() => Failure::Retryable,
        Code::Aborted if info.reason == "SUBSCRIPTION_TAKEN_OVER" => Failure::TakenOver,
        _ => Failure::Rejected,
    }
}

/// Repeats a call while it fails with [`Failure::Retryable`], as a client does: a slow
/// server rejects calls, and says that they can be sent again.
pub async fn retry_until_accepted<T, F>(call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    retry_while(&[Failure::Retryable], call).await
}

/// Repeats a call while it fails with one of these failures.
pub async fn retry_while<T, F>(
    failures: &[Failure],
    mut call: impl FnMut() -> F,
) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    loop {
        match call().await {
            Err(status) if failures.contains(&failure(&status)) => sleep(RETRY_DELAY).await,
            answer => return answer,
        }
    }
}
