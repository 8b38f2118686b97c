//! The job of one claimed import: processes its pages in order, and renews its lease.
//!
//! The pages of some phases are pipelined: [`Job::step`] joins the write of a page
//! (`write_pending`, then `flushed`) with the processing of the next one. `flush` writes the
//! pending page without a next one, and `commit` writes a page that was not pending. Both
//! use `write`, whose transaction `advance` makes conditional on the lease and on the stored
//! checkpoint; `on_written` then moves the checkpoint in memory.

mod completion;
mod erasure;
mod lease_renewal;

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use concord_db::WriteTx;
use concord_server::meter::catalog;
use futures::FutureExt as _;
use lease_renewal::renew_until_lost;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    apply::{self, PrefetchedPage},
    external_parents, index, keys,
    page_context::{Page, PageContext},
    periods, references, replace, reset,
    retry_policy::{Decision, PageError, RetryPolicy},
};
use crate::{
    config::WorkerSettings,
    domain::enums::{Kind, Phase, State, Status},
    migrations,
    service::Imports,
    store::{
        self, ImportDb,
        edits::Edits,
        lease::{Checkpoint, Lease},
    },
};

/// Drain timeout: how long the current page may take after the service was asked to
/// stop. An aborted page is repeated by the next worker.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A processed page that is not written yet. It is written while the next page is
/// processed.
#[derive(Debug)]
struct PendingPage {
    edits: Arc<Edits>,
    next: Checkpoint,
}

/// A claimed import that is being processed.
#[derive(Debug)]
pub(super) struct Job {
    context: PageContext,
    /// The stored checkpoint: everything before it is written.
    checkpoint: Checkpoint,
    /// Whether the checkpoint must be reloaded from the database.
    checkpoint_is_stale: bool,
    /// The fence that the database of the records service was restored to, if it was.
    lost_after: Option<i64>,
    pending: Option<PendingPage>,
    prefetched: Option<PrefetchedPage>,
    retry: RetryPolicy,
}

impl Job {
    pub(super) fn new(imports: Imports, settings: WorkerSettings, lease: Lease) -> Self {
        Self {
            checkpoint: Checkpoint {
                phase: lease.import.phase,
                position: lease.import.position.clone(),
                applied_fence: lease.applied_fence,
            },
            checkpoint_is_stale: false,
            lost_after: None,
            pending: None,
            prefetched: None,
            retry: RetryPolicy::for_claimed(lease.was_stalled),
            context: PageContext::new(imports, settings, lease),
        }
    }

    /// Processes the import until it has ended, the lease is lost, or `stop` is
    /// cancelled.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let import = self.context.name();
        tracing::info!(import, phase = %self.checkpoint.phase, "import claimed");
        let PageContext { imports, settings, lease, .. } = &self.context;
        let renewing = renew_until_lost(imports.clone(), *settings, lease.clone());
        tokio::select! {
            () = renewing => tracing::warn!(import, "lease lost to another worker"),
            () = self.run_pages(&stop) => {}
        }
    }

    async fn run_pages(&mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let (import, phase) = (self.context.name(), self.checkpoint.phase);
            let span = tracing::error_span!("page", import, %phase);
            // A panic is an error of this import; it must not end the worker.
            let page = AssertUnwindSafe(self.step().instrument(span)).catch_unwind();
            let stepped = tokio::select! {
                result = page => result.unwrap_or(Err(PageError::Panicked)),
                // The lease is released, so that another worker can claim the import at
                // once, and not only after the expiry. The pending page is not written
                // again: a write in progress may still be committed. In both cases the next
                // worker starts from the stored checkpoint.
                () = drain_timeout(stop) => return self.release().await,
            };
            match stepped {
                Ok(true) => self.retry = RetryPolicy::default(),
                Ok(false) | Err(PageError::LeaseLost) => return,
                Err(error) => {
                    if !self.recover(&error, stop).await {
                        return;
                    }
                }
            }
        }
        if let Err(error) = self.flush().await {
            tracing::info!(%error, "last page was not written; the next worker repeats it");
        }
        self.release().await;
    }

    /// Processes one page; true if there is more to do.
    async fn step(&mut self) -> Result<bool, PageError> {
        if self.checkpoint_is_stale {
            self.reload_checkpoint().await?;
        }
        // A cancelled import stops only after the phase `index`, because a record can be
        // listed only after it is read. If reading fails, it stops earlier.
        let is_read = !matches!(self.checkpoint.phase, Phase::Reset | Phase::Index);
        let may_stop = is_read || self.retry.attempts > 0;
        if may_stop && store::imports::is_cancelled(self.context.reader()).await? {
            self.flush().await?;
            self.cancel().await?;
            return Ok(false);
        }
        // Once for each lease, in the phase `parents` or when the import is claimed in a
        // later one. By then every record is read, nothing is applied under the lease yet,
        // and no page is pending.
        if self.context.known_erasure.is_none() && self.checkpoint.phase >= Phase::Parents {
            self.erase().await?;
        }
        let current = self.pending.as_ref().map_or(&self.checkpoint, |page| &page.next);
        self.context.position_json.clone_from(&current.position);
        self.context.attempts = self.retry.attempts;
        let prefetched = self.prefetched.take();
        let (result, page) = tokio::join!(self.write_pending(), self.page(prefetched));
        self.flushed(result)?;
        let (Page { edits, next }, prefetched) = page?;
        let applied_fence = self.context.last_answered_fence.load(Ordering::Relaxed);
        let phase = self.checkpoint.phase;
        match (next, phase.next()) {
            (Some(position), _) => {
                let next = Checkpoint { phase, position, applied_fence };
                let page = PendingPage { edits: Arc::new(edits), next };
                if self.can_pipeline() {
                    self.pending = Some(page);
                } else {
                    self.commit(page).await?;
                }
                self.prefetched = prefetched;
            }
            (None, Some(next)) => {
                let next = Checkpoint { phase: next, position: String::new(), applied_fence };
                self.commit(PendingPage { edits: Arc::new(edits), next }).await?;
                self.on_phase_entered(phase).await;
            }
            (None, None) => {
                self.finish(edits).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Processes the current page. Returns the next one too, if it was prefetched.
    async fn page(
        &self,
        prefetched: Option<PrefetchedPage>,
    ) -> Result<(Page, Option<PrefetchedPage>), PageError> {
        let context = &self.context;
        let page = match self.checkpoint.phase {
            Phase::Reset => reset::page(context).await,
            Phase::Index => index::page(context).await,
            Phase::Replace => replace::page(context).await,
            Phase::Keys => keys::page(context).await,
            Phase::References => references::page(context).await,
            Phase::Periods => periods::page(context).await,
            Phase::Parents => external_parents::page(context).await,
            Phase::Clients => return apply::page(context, Kind::Client, prefetched).await,
            Phase::Contacts => return apply::page(context, Kind::Contact, prefetched).await,
            Phase::Addresses => return apply::page(context, Kind::Address, prefetched).await,
        };
        Ok((page?, None))
    }

    /// Whether the next page of the phase can be processed before the previous one is
    /// written: it does not read what that one writes.
    fn can_pipeline(&self) -> bool {
        match self.checkpoint.phase {
            Phase::Index => true,
            // Parents are of another kind, which an earlier phase has processed. A dry
            // run compares a record with those of all earlier pages.
            Phase::Clients | Phase::Contacts | Phase::Addresses => !self.context.validate_only(),
            _ => false,
        }
    }

    /// Writes the pending page, if there is one.
    async fn flush(&mut self) -> Result<(), PageError> {
        let result = self.write_pending().await;
        self.flushed(result)
    }

    async fn write_pending(&self) -> Result<(), PageError> {
        match &self.pending {
            Some(page) => self.write(page).await,
            None => Ok(()),
        }
    }

    /// Clears the pending page after its write. If the write failed, the page is
    /// processed again.
    fn flushed(&mut self, result: Result<(), PageError>) -> Result<(), PageError> {
        let pending = self.pending.take();
        result?;
        if let Some(page) = pending {
            self.on_written(page);
        }
        Ok(())
    }

    /// Updates the planner statistics after the phase `index`, and logs the new phase.
    async fn on_phase_entered(&self, previous: Phase) {
        if previous == Phase::Index {
            // The queries of the next phases read the rows that this one has inserted.
            self.context.imports.db.analyze(migrations::ANALYZE_FUNCTION).await;
        }
        let (import, phase) = (self.context.name(), self.checkpoint.phase);
        tracing::info!(import, %phase, "phase started");
    }

    /// Counts the verdicts of an applied page in the metrics, once they are stored.
    fn count(&self, edits: &Edits) {
        let kind = match self.checkpoint.phase {
            Phase::Clients => Kind::Client,
            Phase::Contacts => Kind::Contact,
            Phase::Addresses => Kind::Address,
            _ => return,
        };
        for status in Status::ALL {
            let count =
                edits.status_updates.iter().filter(|update| update.status == *status).count();
            if count > 0 {
                let labels = [kind.as_str(), status.as_str()];
                let counter = self.context.imports.meter.counter(&catalog::RECORDS_APPLIED, labels);
                counter.increment(u64::try_from(count).unwrap_or(0));
            }
        }
    }

    /// Writes a page that is not pending, and advances the checkpoint.
    async fn commit(&mut self, page: PendingPage) -> Result<(), PageError> {
        self.write(&page).await?;
        self.on_written(page);
        Ok(())
    }

    /// Counts a page after it is written, and advances the checkpoint in memory.
    fn on_written(&mut self, page: PendingPage) {
        self.count(&page.edits);
        self.checkpoint = page.next;
    }

    /// Writes a page, and advances the stored checkpoint.
    async fn write(&self, page: &PendingPage) -> Result<(), PageError> {
        let PendingPage { edits, next } = page;
        let written = self.advance(next.clone(), Arc::clone(edits), |tx, work| async move {
            let (lease, edits) = &*work;
            let db = ImportDb::of(&tx, &lease.import.key);
            Ok::<_, PageError>(store::edits::write(db, edits).await?)
        });
        written.await
    }

    /// Moves the import from the checkpoint to `next`, extends the lease, and makes a
    /// change with the lease and some input, all in one transaction.
    async fn advance<W, T, F, Fut>(
        &self,
        next: Checkpoint,
        input: W,
        change: F,
    ) -> Result<T, PageError>
    where
        W: Send + Sync + 'static,
        T: Send + 'static,
        F: Fn(WriteTx, Arc<(Lease, W)>) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Result<T, PageError>> + Send + 'static,
    {
        let PageContext { imports, settings, lease, .. } = &self.context;
        let until = imports.clock.now() + settings.lease;
        let checkpoints = Arc::new((self.checkpoint.clone(), next));
        let work = Arc::new((lease.clone(), input));
        let written = imports.db.write(&lease.import.key.practice, move |tx| {
            let (checkpoints, work) = (Arc::clone(&checkpoints), Arc::clone(&work));
            async move {
                let (from, to) = &*checkpoints;
                if !store::lease::advance(&*tx, &work.0, until, from, to).await? {
                    return Err(PageError::CheckpointMoved);
                }
                change(tx, work).await
            }
        });
        written.await
    }

    /// Reloads the checkpoint after an error: whether the last write was committed is
    /// unknown.
    async fn reload_checkpoint(&mut self) -> Result<(), PageError> {
        let db = self.context.imports.db.reader();
        let at = store::lease::checkpoint(db, &self.context.lease).await?;
        self.checkpoint = at.ok_or(PageError::LeaseLost)?;
        if let Some(fence) = self.lost_after.filter(|fence| *fence < self.checkpoint.applied_fence)
        {
            self.reapply_round(fence).await?;
        }
        let answered = &self.context.last_answered_fence;
        answered.store(self.checkpoint.applied_fence, Ordering::Relaxed);
        (self.checkpoint_is_stale, self.lost_after) = (false, None);
        Ok(())
    }

    /// Resets what this round has applied, because the records service has lost a part of
    /// it. The records are ready again, and the phases that apply start over. Applying is
    /// idempotent for the part that the records service still has. `applied_fence` is the
    /// highest fence that it still has. Losses of earlier rounds are not detected here:
    /// children of lost records fail.
    async fn reapply_round(&mut self, applied_fence: i64) -> Result<(), PageError> {
        let next = match self.checkpoint.phase.state() {
            State::Applying => {
                Checkpoint { phase: Phase::Clients, position: String::new(), applied_fence }
            }
            _ => Checkpoint { applied_fence, ..self.checkpoint.clone() },
        };
        let written = self.advance(next.clone(), (), |tx, work| async move {
            let (lease, ()) = &*work;
            let db = ImportDb::of(&tx, &lease.import.key);
            let records = store::records::mark_for_reapply(db, lease.import.round).await?;
            store::duplicates::remove_of_ready(db).await?;
            store::counters::recount(db, Status::Staged).await?;
            Ok::<_, PageError>(records)
        });
        let records = written.await?;
        self.checkpoint = next;
        tracing::warn!(
            import = self.context.name(),
            records,
            "the records service has lost applied records; reapplying them"
        );
        Ok(())
    }

    /// Handles an error: backs off, or ends the job; true if the job continues.
    async fn recover(&mut self, error: &PageError, stop: &CancellationToken) -> bool {
        (self.checkpoint_is_stale, self.pending, self.prefetched) = (true, None, None);
        if let PageError::RecordsLost { fence } = error {
            self.lost_after = Some(*fence);
        }
        let import = self.context.name();
        if matches!(error, PageError::Fenced) {
            tracing::warn!(import, "call was fenced by a later call of the import");
            // If no other worker holds the lease, the later call was made under a lease
            // that this database no longer has.
            self.release_with_raised_token().await;
            return false;
        }
        match self.retry.decide(error, &self.context.settings) {
            Decision::BackOff(pause) => {
                let phase = self.checkpoint.phase;
                tracing::warn!(import, %phase, %error, "page failed; retrying");
                self.set_note(error.note()).await;
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                true
            }
            Decision::Stall => {
                tracing::error!(import, phase = %self.checkpoint.phase, %error, "import stalled");
                self.stall(error.note()).await;
                false
            }
            Decision::Fail => {
                if let Err(end_error) = self.fail(error).await {
                    tracing::warn!(import, error = %end_error, "ending the import failed; stalling it");
                    self.stall(error.note()).await;
                }
                false
            }
        }
    }
}

/// Completes when the drain timeout after `stop` has passed.
async fn drain_timeout(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN_TIMEOUT).await;
}
