//! Retry policy of the worker: a failed page is retried with exponential backoff and
//! jitter. Then the import is stalled, or it fails if the error is unexpected.
//!
//! A record with violations fails alone, and is no error of the page. A chunk that the
//! records service rejects is split (`apply/send.rs`), and the records that cause the
//! rejection fail. The error ([`CallErrorKind::InvalidRecord`]) comes here only if there are
//! too many of them, or from another call.

use std::time::Duration;

use concord_core::ids;
use concord_db::{DbErrorKind, Outage, error_kind, outage};
use tokio::time::Instant;

use crate::{
    config::WorkerSettings,
    error::ImportError,
    records_client::{CallError, CallErrorKind},
};

/// Upper bound of the backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// How often a page is retried after an internal error.
const MAX_INTERNAL_ATTEMPTS: u32 = 4;

/// Why a page failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// Another worker has claimed the import.
    #[error("another worker has claimed the import")]
    LeaseLost,
    /// The stored checkpoint is not the one that the page started from: the page is
    /// already written, or the database was restored to an earlier state.
    #[error("the import is not at the checkpoint of the page")]
    CheckpointMoved,
    /// The records service has seen a call with a higher fence.
    #[error("the records service has seen a later call of the import")]
    Fenced,
    /// The database of the records service was restored to an earlier state.
    #[error("the records service has lost applied records")]
    RecordsLost {
        /// The highest fence that it still has.
        fence: i64,
    },
    /// The code of the page panicked.
    #[error("a page panicked")]
    Panicked,
    /// A call to the records service failed.
    #[error(transparent)]
    Call(CallError),
    /// The own database failed, or a stored row is invalid.
    #[error(transparent)]
    Internal(#[from] ImportError),
}

impl From<CallError> for PageError {
    fn from(error: CallError) -> Self {
        match error.kind {
            CallErrorKind::Fenced => Self::Fenced,
            _ => Self::Call(error),
        }
    }
}

impl From<sea_orm::DbErr> for PageError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Internal(error.into())
    }
}

impl concord_db::WriteError for PageError {
    fn database(&self) -> Option<&sea_orm::DbErr> {
        match self {
            Self::Internal(error) => error.database(),
            _ => None,
        }
    }
}

impl PageError {
    /// The note that users read at the import meanwhile.
    pub(super) fn note(&self) -> &'static str {
        match self {
            Self::LeaseLost => "",
            Self::CheckpointMoved | Self::Fenced | Self::RecordsLost { .. } => {
                "A database was restored to an earlier state; the import resumes from that state."
            }
            Self::Call(error) => match error.kind {
                CallErrorKind::Transient | CallErrorKind::Unknown => {
                    "The records service does not answer; the import retries."
                }
                CallErrorKind::InvalidRecord | CallErrorKind::Permanent | CallErrorKind::Fenced => {
                    "The records service rejects the import; the import retries later."
                }
            },
            Self::Internal(ImportError::Database(error))
                if error_kind(error) != DbErrorKind::Other =>
            {
                match outage(error) {
                    Some(Outage::ReadOnly) => "The database is read-only; the import retries.",
                    Some(Outage::DiskFull | Outage::DiskError) => {
                        "The disk of the database is full or fails; the import retries."
                    }
                    _ => "The database does not answer; the import retries.",
                }
            }
            Self::Internal(_) | Self::Panicked => {
                "An unexpected error occurred; the import retries."
            }
        }
    }

    /// Whether the error is neither transient nor one that a person can correct. If it
    /// persists, the import fails; other errors stall it.
    fn is_unexpected(&self) -> bool {
        match self {
            Self::Call(error) => {
                matches!(error.kind, CallErrorKind::Unknown | CallErrorKind::InvalidRecord)
            }
            Self::Internal(ImportError::Database(error)) => {
                matches!(error_kind(error), DbErrorKind::Other | DbErrorKind::Duplicate)
            }
            Self::Panicked | Self::Internal(_) => true,
            Self::LeaseLost | Self::CheckpointMoved | Self::Fenced | Self::RecordsLost { .. } => {
                false
            }
        }
    }

    /// Whether the cause can only be stored data or code, so that waiting does not help.
    /// Such an error is unexpected too; it fails the import after a few retries, without
    /// waiting for [`WorkerSettings::stall_after`].
    fn is_internal(&self) -> bool {
        matches!(self, Self::Panicked | Self::Internal(ImportError::Corrupt(_)))
    }

    /// Whether the records service rejects the import until a person acts. Such an error
    /// stalls the import at once.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, Self::Call(CallError { kind: CallErrorKind::Permanent, .. }))
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(error) => error.retry_after,
            _ => None,
        }
    }
}

/// What the worker does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Retry the page after this backoff.
    BackOff(Duration),
    /// Stall the import.
    Stall,
    /// Fail the import.
    Fail,
}

/// The state of the retries of one page.
#[derive(Debug, Default)]
pub(super) struct RetryPolicy {
    since: Option<Instant>,
    pub(super) attempts: u32,
    /// Whether the import was stalled before, and no page has succeeded since. Then a
    /// single error stalls it again, so that it does not occupy the worker.
    pub(super) was_stalled: bool,
}

impl RetryPolicy {
    /// The initial state of a claimed import.
    pub(super) fn for_claimed(was_stalled: bool) -> Self {
        Self { was_stalled, ..Self::default() }
    }

    /// Whether errors have persisted for this long.
    pub(super) fn has_lasted(&self, time: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Records an error, and decides the reaction.
    pub(super) fn decide(&mut self, error: &PageError, settings: &WorkerSettings) -> Decision {
        self.since.get_or_insert_with(Instant::now);
        let exhausted = self.has_lasted(settings.stall_after);
        if error.is_unexpected()
            && (exhausted || (error.is_internal() && self.attempts >= MAX_INTERNAL_ATTEMPTS))
        {
            return Decision::Fail;
        }
        let stalls =
            self.was_stalled && matches!(error, PageError::Call(_) | PageError::Internal(_));
        let stalls = stalls && !error.is_unexpected();
        if error.is_permanent() || exhausted || stalls {
            return Decision::Stall;
        }
        let backoff = settings.initial_backoff.saturating_mul(1 << self.attempts.min(10));
        self.attempts += 1;
        let backoff = jittered(backoff.min(MAX_BACKOFF));
        Decision::BackOff(backoff.max(error.retry_after().unwrap_or_default().min(MAX_BACKOFF)))
    }
}

/// Adds jitter to an interval, so that replicas do not poll at the same time.
pub(super) fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.75 + f64::from(ids::random_byte()) / 512.0)
}

#[cfg(test)]
mod tests {
    use concord_core::status::ApiError;
    use concord_proto::pb::records::ErrorReason;
    use tonic::{Code, Status};

    use super::*;

    fn call(status: Status) -> PageError {
        CallError::from(status).into()
    }

    #[test]
    fn backoff_grows_until_the_import_stalls() {
        let mut settings = WorkerSettings::default();
        let mut policy = RetryPolicy::default();
        let away = call(Status::unavailable("away"));
        let Decision::BackOff(first) = policy.decide(&away, &settings) else { panic!("backoff") };
        let Decision::BackOff(second) = policy.decide(&away, &settings) else { panic!("backoff") };
        assert!(first < Duration::from_millis(260) && second > Duration::from_millis(290));
        settings.stall_after = Duration::ZERO;
        assert_eq!(policy.decide(&away, &settings), Decision::Stall);
    }

    #[test]
    fn stale_worker_error_is_fenced() {
        let reason = ErrorReason::StaleWorker;
        let late = call(ApiError::new(Code::Aborted, reason, "late").into());
        assert!(matches!(late, PageError::Fenced));
        assert!(matches!(call(ApiError::conflict().into()), PageError::Call(_)));
    }

    #[test]
    fn unexpected_errors_fail_and_transient_ones_stall_the_import() {
        let settings = WorkerSettings { stall_after: Duration::ZERO, ..WorkerSettings::default() };
        let decide = |error| RetryPolicy::default().decide(&error, &settings);
        assert_eq!(decide(call(Status::internal("broken"))), Decision::Fail);
        assert_eq!(decide(call(Status::invalid_argument("broken"))), Decision::Fail);
        assert_eq!(decide(call(Status::unavailable("away"))), Decision::Stall);
        assert_eq!(decide(PageError::CheckpointMoved), Decision::Stall);
        // An import that was stalled before is stalled at once.
        let mut again = RetryPolicy::for_claimed(true);
        let away = call(Status::unavailable("away"));
        assert_eq!(again.decide(&away, &WorkerSettings::default()), Decision::Stall);
        // Stored data does not change by waiting.
        let (settings, mut policy) = (WorkerSettings::default(), RetryPolicy::default());
        let corrupt = || ImportError::Corrupt("inconsistent counters").into();
        let attempts = std::iter::repeat_with(|| policy.decide(&corrupt(), &settings));
        let attempts: Vec<_> = attempts.take(5).collect();
        assert!(
            attempts[..4].iter().all(|attempt| matches!(attempt, Decision::BackOff(_))),
            "{attempts:?}"
        );
        assert_eq!(attempts[4], Decision::Fail);
    }

    #[test]
    fn permanent_error_stalls_at_once() {
        let settings = WorkerSettings::default();
        let refused = call(Status::failed_precondition("not connected"));
        assert_eq!(RetryPolicy::default().decide(&refused, &settings), Decision::Stall);
    }
}
