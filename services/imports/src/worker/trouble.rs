//! What to do when a page fails: retry with a growing delay, then pause the import, or
//! end it when the error is unexpected. Records never cause these errors.

use std::time::Duration;

use shared::db::{Fault, Outage, fault, outage};
use tokio::time::Instant;

use crate::{
    config::WorkerSettings,
    error::ImportError,
    records_client::{CallFault, FaultKind},
};

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often a page is retried after a fault of the service itself.
const OWN_TRIES: u32 = 4;

/// Why a page was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkFault {
    /// Another worker has claimed the import.
    #[error("another worker has the import")]
    LeaseLost,
    /// The import is not where the page began: the page is written already, or the
    /// database has gone back to an earlier state.
    #[error("the import is not where the page began")]
    Moved,
    /// The records service has seen a later call of the import.
    #[error("the records service has seen a later call of the import")]
    Stale,
    /// The records service has gone back to an earlier state: `fence` is that of the
    /// last call that it has.
    #[error("the records service has lost what was applied")]
    RecordsLost {
        /// The fence of the last call that it has.
        fence: i64,
    },
    /// The code of the page panicked.
    #[error("a page panicked")]
    Panicked,
    /// The records service did not answer as it should.
    #[error(transparent)]
    Call(CallFault),
    /// Our own database did not, or what is in it cannot be.
    #[error(transparent)]
    Own(#[from] ImportError),
}

impl From<CallFault> for WorkFault {
    fn from(fault: CallFault) -> Self {
        match fault.kind {
            FaultKind::Stale => Self::Stale,
            _ => Self::Call(fault),
        }
    }
}

impl From<sea_orm::DbErr> for WorkFault {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Own(error.into())
    }
}

impl shared::db::WriteError for WorkFault {
    fn database(&self) -> Option<&sea_orm::DbErr> {
        match self {
            Self::Own(error) => error.database(),
            _ => None,
        }
    }
}

impl WorkFault {
    /// What people read at the import meanwhile.
    pub(super) fn note(&self) -> &'static str {
        match self {
            Self::LeaseLost => "",
            Self::Moved | Self::Stale | Self::RecordsLost { .. } => {
                "A database was set back; the import resumes from what it holds now."
            }
            Self::Call(fault) => match fault.kind {
                FaultKind::Passing | FaultKind::Unclear => {
                    "The records service does not answer; it is tried again."
                }
                FaultKind::Poison | FaultKind::Lasting | FaultKind::Stale => {
                    "The records service refuses the import; it is tried again later."
                }
            },
            Self::Own(ImportError::Database(error)) if fault(error) != Fault::Other => {
                match outage(error) {
                    Some(Outage::ReadOnly) => "The database is read-only; it is tried again.",
                    Some(Outage::DiskFull | Outage::DiskFails) => {
                        "The disk of the database is full or fails; it is tried again."
                    }
                    _ => "The database does not answer; it is tried again.",
                }
            }
            Self::Own(_) | Self::Panicked => "Something unexpected went wrong; it is tried again.",
        }
    }

    /// Whether the fault is internal: neither transient, nor one that users can
    /// correct. It ends the import when it persists.
    fn is_unexpected(&self) -> bool {
        match self {
            Self::Call(fault) => matches!(fault.kind, FaultKind::Unclear | FaultKind::Poison),
            Self::Own(ImportError::Database(error)) => {
                matches!(fault(error), Fault::Other | Fault::Duplicate)
            }
            Self::Panicked | Self::Own(_) => true,
            Self::LeaseLost | Self::Moved | Self::Stale | Self::RecordsLost { .. } => false,
        }
    }

    /// Whether the cause is data in the database or the code alone, so that waiting
    /// does not help.
    fn is_own(&self) -> bool {
        matches!(self, Self::Panicked | Self::Own(ImportError::Corrupt(_)))
    }

    pub(super) fn is_lasting(&self) -> bool {
        matches!(self, Self::Call(CallFault { kind: FaultKind::Lasting, .. }))
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(fault) => fault.retry_after,
            _ => None,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Wait, and try again.
    Pause(Duration),
    /// Set the import aside.
    Stall,
    /// End the import.
    Fail,
}

/// A row of faults, one after the other.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    since: Option<Instant>,
    pub(super) tries: u32,
    /// Whether the import was paused before, and no page was done since. Then one fault
    /// is enough to pause it again, so that it does not use a worker's time repeatedly.
    pub(super) was_stalled: bool,
}

impl Trouble {
    /// None yet, of an import that was claimed.
    pub(super) fn at_the_claim(was_stalled: bool) -> Self {
        Self { was_stalled, ..Self::default() }
    }

    /// Whether it has lasted so long.
    pub(super) fn lasts(&self, time: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= time)
    }

    /// Takes note of a fault.
    pub(super) fn decide(&mut self, fault: &WorkFault, settings: &WorkerSettings) -> Decision {
        self.since.get_or_insert_with(Instant::now);
        let in_vain = self.lasts(settings.patience);
        if fault.is_unexpected() && (in_vain || (fault.is_own() && self.tries >= OWN_TRIES)) {
            return Decision::Fail;
        }
        let waits = self.was_stalled && matches!(fault, WorkFault::Call(_) | WorkFault::Own(_));
        let waits = waits && !fault.is_unexpected();
        if fault.is_lasting() || in_vain || waits {
            return Decision::Stall;
        }
        let doubled = settings.first_pause.saturating_mul(1 << self.tries.min(10));
        self.tries += 1;
        let pause = super::jittered(doubled.min(LONGEST_PAUSE));
        Decision::Pause(pause.max(fault.retry_after().unwrap_or_default().min(LONGEST_PAUSE)))
    }
}

#[cfg(test)]
mod tests {
    use shared::{pb::records::ErrorReason, status::Refusal};
    use tonic::{Code, Status};

    use super::*;

    fn call(status: Status) -> WorkFault {
        CallFault::from(status).into()
    }

    #[test]
    fn pauses_grow_until_patience_ends() {
        let mut settings = WorkerSettings::default();
        let mut trouble = Trouble::default();
        let away = call(Status::unavailable("away"));
        let Decision::Pause(first) = trouble.decide(&away, &settings) else { panic!("pause") };
        let Decision::Pause(second) = trouble.decide(&away, &settings) else { panic!("pause") };
        assert!(first < Duration::from_millis(260) && second > Duration::from_millis(290));
        settings.patience = Duration::ZERO;
        assert_eq!(trouble.decide(&away, &settings), Decision::Stall);
    }

    #[test]
    fn a_worker_that_is_late_has_lost_its_lease() {
        let reason = ErrorReason::StaleWorker;
        let late = call(Refusal::new(Code::Aborted, reason, "late").into());
        assert!(matches!(late, WorkFault::Stale));
        assert!(matches!(call(Refusal::conflict().into()), WorkFault::Call(_)));
    }

    #[test]
    fn what_nobody_expects_ends_the_import_and_what_passes_sets_it_aside() {
        let settings = WorkerSettings { patience: Duration::ZERO, ..WorkerSettings::default() };
        let decide = |fault| Trouble::default().decide(&fault, &settings);
        assert_eq!(decide(call(Status::internal("broken"))), Decision::Fail);
        assert_eq!(decide(call(Status::invalid_argument("broken"))), Decision::Fail);
        assert_eq!(decide(call(Status::unavailable("away"))), Decision::Stall);
        assert_eq!(decide(WorkFault::Moved), Decision::Stall);
        // An import that was paused before does not wait as long again.
        let mut again = Trouble::at_the_claim(true);
        let away = call(Status::unavailable("away"));
        assert_eq!(again.decide(&away, &WorkerSettings::default()), Decision::Stall);
        // What is in the database does not change by waiting.
        let (settings, mut trouble) = (WorkerSettings::default(), Trouble::default());
        let corrupt = || ImportError::Corrupt("numbers that do not add up").into();
        let tries = std::iter::repeat_with(|| trouble.decide(&corrupt(), &settings));
        let tries: Vec<_> = tries.take(5).collect();
        assert!(tries[..4].iter().all(|tried| matches!(tried, Decision::Pause(_))), "{tries:?}");
        assert_eq!(tries[4], Decision::Fail);
    }

    #[test]
    fn what_people_must_mend_is_not_tried_again_and_again() {
        let settings = WorkerSettings::default();
        let refused = call(Status::failed_precondition("not connected"));
        assert_eq!(Trouble::default().decide(&refused, &settings), Decision::Stall);
    }
}
