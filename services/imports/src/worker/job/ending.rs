//! How an import ends: at its end, or before its time.

use std::{sync::Arc, time::Duration};

use shared::{ids, meter::catalog};

use super::Job;
use crate::{
    domain::words::{State, Status},
    error::ImportError,
    store::{self, edits::Edits},
    worker::trouble::WorkFault,
};

/// How long the end of a cancelled import waits for the records service.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// What people read at a cancelled import for which the records service did not
/// answer.
const NOT_FENCED: &str = "The records service did not answer when the import was cancelled: \
    records that were sent to it just before may still be applied.";

impl Job {
    /// Ends the import, when every record has its verdict and the numbers add up.
    pub(super) async fn finish(&self, edits: Edits) -> Result<(), WorkFault> {
        self.fence_off_applied().await?;
        let now = self.imports.clock.now();
        let until = now + self.settings.lease;
        let work = Arc::new((self.lease.clone(), self.at.clone(), edits));
        let written = self.imports.db.write(&self.key().practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (lease, at, edits) = &*work;
                let key = &lease.import.key;
                if !store::lease::hold(&*tx, lease, until, at, at).await? {
                    return Err(WorkFault::Moved);
                }
                store::edits::write(&*tx, key, edits).await?;
                store::tally::count_warned(&*tx, key).await?;
                store::likenesses::remove_all(&*tx, key).await?;
                let tally = store::tally::read(&*tx, key).await?;
                let counted = store::tally::count(&*tx, key).await?;
                if !tally.entries().eq(counted.entries()) || tally.waiting(None) != 0 {
                    return Err(ImportError::Corrupt("numbers that do not add up").into());
                }
                let state = match tally.failed(None) {
                    _ if lease.import.validate_only => State::Validated,
                    0 => State::Completed,
                    _ => State::CompletedWithFailures,
                };
                let held = store::lease::finish(&*tx, lease, state, now, "").await?;
                if held { Ok(state) } else { Err(WorkFault::LeaseLost) }
            }
        });
        let state = written.await?;
        self.has_ended(state);
        Ok(())
    }

    /// Ends an import that was asked to stop. The records service is asked to apply
    /// nothing of it any more; when it does not answer, the import ends all the same.
    pub(super) async fn give_up(&self) -> Result<(), WorkFault> {
        let note = match self.fence_off_applied().await {
            Ok(()) => "",
            Err(fault @ WorkFault::Call(_)) => {
                let patience = self.settings.patience.min(CANCEL_PATIENCE);
                let waited = self.trouble.was_stalled || self.trouble.lasts(patience);
                if !fault.is_lasting() && !waited {
                    return Err(fault);
                }
                NOT_FENCED
            }
            Err(fault) => return Err(fault),
        };
        self.stop(State::Cancelled, note.to_owned()).await
    }

    /// Ends the import because of an unexpected error that is permanent.
    pub(super) async fn fail(&self, fault: &WorkFault) -> Result<(), WorkFault> {
        let incident = ids::new_uuid().as_simple().to_string();
        let (import, phase) = (self.name(), self.at.phase);
        tracing::error!(import, %phase, incident, error = %fault, "an import fails internally");
        // The next round begins with a fence too, if this one does not come through.
        if let Err(error) = self.fence_off_applied().await {
            tracing::warn!(import, %error, "late calls of a failed import are not fenced off");
        }
        let note = format!(
            "The service could not go on, because of an unexpected error: the log has more under \
             incident {incident}. Retry the import, or cancel it."
        );
        self.stop(State::FailedInternally, note).await
    }

    /// Ends the import before its time, wherever it is: what waits is left
    /// unprocessed. The numbers are recounted from the records.
    async fn stop(&self, state: State, note: String) -> Result<(), WorkFault> {
        let now = self.imports.clock.now();
        let until = now + self.settings.lease;
        let work = Arc::new((self.lease.clone(), note));
        let written = self.imports.db.write(&self.key().practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (lease, note) = &*work;
                let key = &lease.import.key;
                // A page that is still being written ends before this.
                if !store::lease::renew(&*tx, lease, until, None).await? {
                    return Err(WorkFault::LeaseLost);
                }
                store::records::give_up(&*tx, key, Status::Staged).await?;
                store::records::give_up(&*tx, key, Status::Ready).await?;
                if lease.import.validate_only {
                    // Nothing was applied, whatever it says would have been.
                    store::records::give_up(&*tx, key, Status::Imported).await?;
                    store::records::give_up(&*tx, key, Status::Linked).await?;
                    store::duplicates::remove_all(&*tx, key).await?;
                    store::failures::remove_warnings(&*tx, key).await?;
                }
                store::likenesses::remove_all(&*tx, key).await?;
                store::tally::recount(&*tx, key, Status::Unprocessed).await?;
                let held = store::lease::finish(&*tx, lease, state, now, note).await?;
                if held { Ok(()) } else { Err(WorkFault::LeaseLost) }
            }
        });
        written.await?;
        self.has_ended(state);
        Ok(())
    }

    fn has_ended(&self, state: State) {
        self.imports.meter.counter(&catalog::IMPORTS_ENDED, [state.as_str()]).increment(1);
        tracing::info!(import = self.name(), %state, "an import has ended");
    }

    /// Fences off, when anything may have been sent.
    async fn fence_off_applied(&self) -> Result<(), WorkFault> {
        if self.validate_only() || self.at.phase.state() != State::Applying {
            return Ok(());
        }
        self.fence_off().await
    }
}
