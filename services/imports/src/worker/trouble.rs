//! What to do when a page cannot be done: try again, longer and longer, and at
//! last set the import aside. Records are never to blame for that.

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

/// Why a page was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkFault {
    /// Another worker has claimed the import.
    #[error("another worker has the import")]
    LeaseLost,
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
            FaultKind::Stale => Self::LeaseLost,
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
            Self::LeaseLost | Self::Call(_) => None,
        }
    }
}

impl WorkFault {
    /// What people read at the import meanwhile.
    pub(super) fn note(&self) -> &'static str {
        match self {
            Self::LeaseLost => "",
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
            Self::Own(_) => "Something unexpected went wrong; it is tried again.",
        }
    }

    fn is_lasting(&self) -> bool {
        matches!(self, Self::Call(CallFault { kind: FaultKind::Lasting, .. }))
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(fault) => fault.retry_after,
            Self::LeaseLost | Self::Own(_) => None,
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
}

/// A row of faults, one after the other.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    since: Option<Instant>,
    pub(super) tries: u32,
}

impl Trouble {
    /// Takes note of a fault.
    pub(super) fn decide(&mut self, fault: &WorkFault, settings: &WorkerSettings) -> Decision {
        let since = *self.since.get_or_insert_with(Instant::now);
        if fault.is_lasting() || since.elapsed() >= settings.patience {
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
        assert!(matches!(late, WorkFault::LeaseLost));
        assert!(matches!(call(Refusal::conflict().into()), WorkFault::Call(_)));
    }

    #[test]
    fn what_people_must_mend_is_not_tried_again_and_again() {
        let settings = WorkerSettings::default();
        let refused = call(Status::failed_precondition("not connected"));
        assert_eq!(Trouble::default().decide(&refused, &settings), Decision::Stall);
    }
}
