//! The end of an import: completed, cancelled or failed.

use std::{sync::Arc, time::Duration};

use concord_core::ids;
use concord_server::meter::catalog;

use super::Job;
use crate::{
    domain::enums::{State, Status},
    error::ImportError,
    store::{self, ImportDb, edits::Edits},
    worker::{page_context::PageContext, retry_policy::PageError},
};

/// How long a cancelled import waits for the records service to confirm the fence.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// The note of a cancelled import whose fence the records service did not confirm.
const NOT_FENCED: &str = "The records service did not answer when the import was cancelled: \
    records of the current chunk may still be applied.";

impl Job {
    /// Ends the import, if every record has a verdict and the counters are consistent.
    pub(super) async fn finish(&self, edits: Edits) -> Result<(), PageError> {
        self.fence_off_applied().await?;
        let now = self.context.imports.clock.now();
        let written = self.advance(self.checkpoint.clone(), edits, move |tx, work| async move {
            let (lease, edits) = &*work;
            let db = ImportDb::of(&tx, &lease.import.key);
            store::edits::write(db, edits).await?;
            store::counters::count_warned(db).await?;
            store::match_keys::remove_all(db).await?;
            let counters = store::counters::read(db).await?;
            let counted = store::counters::count(db).await?;
            if !counters.entries().eq(counted.entries()) || counters.waiting(None) != 0 {
                return Err(ImportError::Corrupt("inconsistent counters").into());
            }
            let state = match counters.failed(None) {
                _ if lease.import.validate_only => State::Validated,
                0 => State::Completed,
                _ => State::CompletedWithFailures,
            };
            let held = store::lease::finish(&*tx, lease, state, now, "").await?;
            if held { Ok(state) } else { Err(PageError::LeaseLost) }
        });
        let state = written.await?;
        self.on_ended(state);
        Ok(())
    }

    /// Ends a cancelled import. Raises the fence first, so that the records service
    /// applies nothing more of it; if it does not answer in time, the import ends
    /// anyway.
    pub(super) async fn cancel(&self) -> Result<(), PageError> {
        let note = match self.fence_off_applied().await {
            Ok(()) => "",
            Err(error @ PageError::Call(_)) => {
                let timeout = self.context.settings.stall_after.min(CANCEL_TIMEOUT);
                let waited = self.retry.was_stalled || self.retry.has_lasted(timeout);
                if !error.is_permanent() && !waited {
                    return Err(error);
                }
                NOT_FENCED
            }
            Err(error) => return Err(error),
        };
        self.stop(State::Cancelled, note.to_owned()).await
    }

    /// Ends the import after an unexpected, permanent error.
    pub(super) async fn fail(&self, error: &PageError) -> Result<(), PageError> {
        let incident = ids::new_uuid().as_simple().to_string();
        let (import, phase) = (self.context.name(), self.checkpoint.phase);
        tracing::error!(import, %phase, incident, %error, "import failed internally");
        // The next round raises the fence too, if this attempt fails.
        if let Err(error) = self.fence_off_applied().await {
            tracing::warn!(import, %error, "fencing late calls of a failed import failed");
        }
        let note = format!(
            "An unexpected error ended the import; the log has the cause under incident \
             {incident}. Retry the import, or cancel it."
        );
        self.stop(State::FailedInternally, note).await
    }

    /// Ends the import early, in any phase. Records without a verdict become
    /// unprocessed. The counters are recomputed from the records.
    async fn stop(&self, state: State, note: String) -> Result<(), PageError> {
        let PageContext { imports, settings, lease, .. } = &self.context;
        let now = imports.clock.now();
        let until = now + settings.lease;
        let work = Arc::new((lease.clone(), note));
        let written = imports.db.write(&lease.import.key.practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (lease, note) = &*work;
                let db = ImportDb::of(&tx, &lease.import.key);
                // Waits for a page that is still being written.
                if !store::lease::renew(&*tx, lease, until, None).await? {
                    return Err(PageError::LeaseLost);
                }
                store::records::mark_unprocessed(db, Status::Staged).await?;
                store::records::mark_unprocessed(db, Status::Ready).await?;
                if lease.import.validate_only {
                    // A dry run has applied nothing, so these verdicts are void.
                    store::records::mark_unprocessed(db, Status::Imported).await?;
                    store::records::mark_unprocessed(db, Status::Linked).await?;
                    store::duplicates::remove_all(db).await?;
                    store::failures::remove_warnings(db).await?;
                }
                store::match_keys::remove_all(db).await?;
                store::counters::recount(db, Status::Unprocessed).await?;
                let held = store::lease::finish(&*tx, lease, state, now, note).await?;
                if held { Ok(()) } else { Err(PageError::LeaseLost) }
            }
        });
        written.await?;
        self.on_ended(state);
        Ok(())
    }

    fn on_ended(&self, state: State) {
        let counter = self.context.imports.meter.counter(&catalog::IMPORTS_ENDED, [state.as_str()]);
        counter.increment(1);
        tracing::info!(import = self.context.name(), %state, "import ended");
    }

    /// Raises the fence, if anything may have been sent.
    async fn fence_off_applied(&self) -> Result<(), PageError> {
        if self.context.validate_only() || self.checkpoint.phase.state() != State::Applying {
            return Ok(());
        }
        self.context.fence_off().await
    }
}
