//! The job of one claimed import: processes its pages in sequence, and renews its
//! lease.

mod completion;
mod erasure;
mod lease_renewal;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use concord_core::ids::{self, IdKind};
use concord_proto::wire::ApplyRecord;
use concord_server::{identity::OnBehalf, meter::catalog};
use futures::FutureExt as _;
use lease_renewal::renew_until_lost;
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    apply, external_parents, index, keys, periods, references, replace, reset,
    retry_policy::{Decision, PageError, RetryPolicy},
};
use crate::{
    config::WorkerSettings,
    domain::{
        enums::{Kind, Phase, State, Status},
        import::ImportKey,
    },
    error::ImportError,
    migrations,
    records_client::{Applied, Fences, Outcome, behalf_of},
    service::Imports,
    store::{
        self,
        edits::Edits,
        lease::{Checkpoint, Lease},
    },
};

/// Drain timeout: how long the current page may take after the service was asked to
/// stop. An aborted page is repeated by the next worker.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The result of one page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) edits: Edits,
    /// The position of the next page of the phase; `None` if this is the last.
    pub(super) next: Option<String>,
    /// The next page, if it was prefetched.
    pub(super) prefetched: Option<apply::PrefetchedPage>,
}

impl Page {
    /// A page that is followed by one at `position`.
    pub(super) fn more(edits: Edits, position: &impl Serialize) -> Result<Self, ImportError> {
        let position = serde_json::to_string(position);
        let position = position.map_err(|_| ImportError::Corrupt("position"))?;
        Ok(Self { edits, next: Some(position), prefetched: None })
    }

    /// The last page of the phase.
    pub(super) fn last(edits: Edits) -> Self {
        Self { edits, next: None, prefetched: None }
    }
}

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
    pub(super) imports: Imports,
    pub(super) settings: WorkerSettings,
    pub(super) behalf: OnBehalf,
    lease: Lease,
    /// Number of apply calls made under the lease.
    calls: AtomicI64,
    /// The fence of the last answered call.
    last_answered_fence: AtomicI64,
    /// The stored checkpoint: everything before it is written.
    checkpoint: Checkpoint,
    /// Whether the checkpoint must be reloaded from the database.
    checkpoint_is_stale: bool,
    /// The fence that the database of the records service was restored to, if it was.
    lost_after: Option<i64>,
    /// The last erasure of the practice for which the import was scanned.
    known_erasure: Option<i64>,
    pending: Option<PendingPage>,
    prefetched: Option<apply::PrefetchedPage>,
    retry: RetryPolicy,
}

impl Job {
    pub(super) fn new(imports: Imports, settings: WorkerSettings, lease: Lease) -> Self {
        Self {
            imports,
            settings,
            behalf: behalf_of(&lease.import),
            checkpoint: Checkpoint {
                phase: lease.import.phase,
                position: lease.import.position.clone(),
                applied_fence: lease.applied_fence,
            },
            checkpoint_is_stale: false,
            lost_after: None,
            known_erasure: None,
            pending: None,
            prefetched: None,
            retry: RetryPolicy::for_claimed(lease.was_stalled),
            calls: AtomicI64::new(0),
            last_answered_fence: AtomicI64::new(lease.applied_fence),
            lease,
        }
    }

    /// The key of the import.
    pub(super) fn key(&self) -> &ImportKey {
        &self.lease.import.key
    }

    /// The id of the import, as callers see it.
    pub(super) fn name(&self) -> String {
        ids::text(IdKind::Import, self.key().id)
    }

    /// The number of the round; the first is 1.
    pub(super) fn round(&self) -> i64 {
        self.lease.import.round
    }

    /// Whether an earlier round may have applied records.
    pub(super) fn has_applied_before(&self) -> bool {
        self.lease.import.ended_before.is_some_and(|state| state != State::Validated)
    }

    /// Whether an earlier round may have read records.
    pub(super) fn was_read_before(&self) -> bool {
        self.lease.import.ended_before.is_some()
    }

    /// Whether this is a dry run.
    pub(super) fn validate_only(&self) -> bool {
        self.lease.import.validate_only
    }

    /// How often the current page has failed.
    pub(super) fn attempts(&self) -> u32 {
        self.retry.attempts
    }

    /// The fencing tokens of the next apply call. The fence is higher than those of all
    /// earlier calls, including calls of this worker that timed out and may still be in
    /// flight.
    fn next_fences(&self) -> Fences {
        let fence = self.lease.fence(self.calls.fetch_add(1, Ordering::Relaxed));
        Fences { fence, applied_fence: self.last_answered_fence.load(Ordering::Relaxed) }
    }

    /// Applies records with one call; returns the outcomes in order.
    pub(super) async fn apply(&self, records: Vec<ApplyRecord>) -> Result<Vec<Outcome>, PageError> {
        let fences = self.next_fences();
        let options = (self.validate_only(), self.known_erasure.unwrap_or_default());
        let applied = self.imports.records.apply(&self.behalf, records, fences, options).await?;
        self.record_answer(fences, applied)
    }

    /// Processes the answer of an apply call.
    fn record_answer(&self, fences: Fences, applied: Applied) -> Result<Vec<Outcome>, PageError> {
        match applied {
            Applied::Lost { fence } => Err(PageError::RecordsLost { fence }),
            Applied::Outcomes(outcomes) => {
                // A dry-run call stores neither changes nor its fence.
                if !self.validate_only() {
                    self.last_answered_fence.store(fences.fence, Ordering::Relaxed);
                }
                Ok(outcomes)
            }
        }
    }

    /// Fences off all chunks that were sent before. A delayed chunk, of this worker or
    /// of an earlier one, must not be applied to a record that is reported as failed,
    /// or that another record then replaces.
    pub(super) async fn fence_off(&self) -> Result<(), PageError> {
        let fences = self.next_fences();
        let raised = self.imports.records.raise_fence(&self.behalf, fences).await?;
        self.record_answer(fences, raised).map(drop)
    }

    /// The position of the current page; `None` at the start of the phase.
    pub(super) fn position<T: DeserializeOwned>(&self) -> Result<Option<T>, ImportError> {
        let position = &self.pending.as_ref().map_or(&self.checkpoint, |page| &page.next).position;
        if position.is_empty() {
            return Ok(None);
        }
        let position = serde_json::from_str(position);
        position.map(Some).map_err(|_| ImportError::Corrupt("position"))
    }

    /// Processes the import until it has ended, the lease is lost, or `stop` is
    /// cancelled.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let import = self.name();
        tracing::info!(import, phase = %self.checkpoint.phase, "import claimed");
        let renewing = renew_until_lost(self.imports.clone(), self.settings, self.lease.clone());
        tokio::select! {
            () = renewing => tracing::warn!(import, "lease lost to another worker"),
            () = self.run_pages(&stop) => {}
        }
    }

    async fn run_pages(&mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let span =
                tracing::error_span!("page", import = self.name(), phase = %self.checkpoint.phase);
            // A panic is an error of this import; it must not end the worker.
            let page = AssertUnwindSafe(self.step().instrument(span)).catch_unwind();
            let stepped = tokio::select! {
                result = page => result.unwrap_or(Err(PageError::Panicked)),
                // A write in progress is not repeated: it may still be committed.
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
        // Also of a cancelled import every record is read, so that each can be listed;
        // unless reading fails.
        let is_read = !matches!(self.checkpoint.phase, Phase::Reset | Phase::Index);
        let may_stop = is_read || self.retry.attempts > 0;
        if may_stop && store::imports::is_cancelled(self.imports.db.reader(), self.key()).await? {
            self.flush().await?;
            self.cancel().await?;
            return Ok(false);
        }
        if self.known_erasure.is_none() && self.checkpoint.phase >= Phase::Parents {
            self.erase().await?;
        }
        let prefetched = self.prefetched.take();
        let (result, page) = tokio::join!(self.write_pending(), self.page(prefetched));
        self.flushed(result)?;
        let Page { edits, next, prefetched } = page?;
        let applied_fence = self.last_answered_fence.load(Ordering::Relaxed);
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

    async fn page(&self, prefetched: Option<apply::PrefetchedPage>) -> Result<Page, PageError> {
        match self.checkpoint.phase {
            Phase::Reset => reset::page(self).await,
            Phase::Index => index::page(self).await,
            Phase::Replace => replace::page(self).await,
            Phase::Keys => keys::page(self).await,
            Phase::References => references::page(self).await,
            Phase::Periods => periods::page(self).await,
            Phase::Parents => external_parents::page(self).await,
            Phase::Clients => apply::page(self, Kind::Client, prefetched).await,
            Phase::Contacts => apply::page(self, Kind::Contact, prefetched).await,
            Phase::Addresses => apply::page(self, Kind::Address, prefetched).await,
        }
    }

    /// Whether the next page of the phase can be processed before the previous one is
    /// written: it does not read what that one writes.
    fn can_pipeline(&self) -> bool {
        match self.checkpoint.phase {
            Phase::Index => true,
            // Parents are of another kind, which an earlier phase has processed. A dry
            // run compares a record with those of all earlier pages.
            Phase::Clients | Phase::Contacts | Phase::Addresses => !self.validate_only(),
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

    /// Called after a phase change.
    async fn on_phase_entered(&self, previous: Phase) {
        if previous == Phase::Index {
            // Updates the planner statistics for the queries of the next phases.
            self.imports.db.analyze(migrations::ANALYZE_FUNCTION).await;
        }
        tracing::info!(import = self.name(), phase = %self.checkpoint.phase, "phase started");
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
                let counter = self.imports.meter.counter(&catalog::RECORDS_APPLIED, labels);
                counter.increment(u64::try_from(count).unwrap_or(0));
            }
        }
    }

    /// Writes a page, and advances the checkpoint.
    async fn commit(&mut self, page: PendingPage) -> Result<(), PageError> {
        self.write(&page).await?;
        self.on_written(page);
        Ok(())
    }

    /// Advances the checkpoint after a page is written.
    fn on_written(&mut self, page: PendingPage) {
        self.count(&page.edits);
        self.checkpoint = page.next;
    }

    async fn write(&self, page: &PendingPage) -> Result<(), PageError> {
        let until = self.imports.clock.now() + self.settings.lease;
        let PendingPage { edits, next } = page;
        let work = (self.lease.clone(), self.checkpoint.clone(), next.clone(), Arc::clone(edits));
        let work = Arc::new(work);
        let written = self.imports.db.write(&self.key().practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (lease, at, next, edits) = &*work;
                if !store::lease::advance(&*tx, lease, until, at, next).await? {
                    return Err(PageError::CheckpointMoved);
                }
                Ok(store::edits::write(&*tx, &lease.import.key, edits).await?)
            }
        });
        written.await
    }

    /// Reloads the checkpoint after an error: whether the last write was committed is
    /// unknown.
    async fn reload_checkpoint(&mut self) -> Result<(), PageError> {
        let at = store::lease::checkpoint(self.imports.db.reader(), &self.lease).await?;
        self.checkpoint = at.ok_or(PageError::LeaseLost)?;
        if let Some(fence) = self.lost_after.filter(|fence| *fence < self.checkpoint.applied_fence)
        {
            self.reapply_round(fence).await?;
        }
        self.last_answered_fence = AtomicI64::new(self.checkpoint.applied_fence);
        (self.checkpoint_is_stale, self.lost_after) = (false, None);
        Ok(())
    }

    /// Applies again everything that was applied in this round, because the records
    /// service has lost a part of it. Applying is idempotent for the part that it still
    /// has. Losses of earlier rounds are not detected here: children of lost records
    /// fail.
    async fn reapply_round(&mut self, applied_fence: i64) -> Result<(), PageError> {
        let until = self.imports.clock.now() + self.settings.lease;
        let next = match self.checkpoint.phase.state() {
            State::Applying => {
                Checkpoint { phase: Phase::Clients, position: String::new(), applied_fence }
            }
            _ => Checkpoint { applied_fence, ..self.checkpoint.clone() },
        };
        let work = Arc::new((self.lease.clone(), self.checkpoint.clone(), next.clone()));
        let written = self.imports.db.write(&self.key().practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (lease, at, next) = &*work;
                if !store::lease::advance(&*tx, lease, until, at, next).await? {
                    return Err(PageError::CheckpointMoved);
                }
                let (key, round) = (&lease.import.key, lease.import.round);
                let records = store::records::mark_for_reapply(&*tx, key, round).await?;
                store::duplicates::remove_of_ready(&*tx, key).await?;
                store::counters::recount(&*tx, key, Status::Staged).await?;
                Ok(records)
            }
        });
        let records = written.await?;
        self.checkpoint = next;
        tracing::warn!(
            import = self.name(),
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
        if matches!(error, PageError::Fenced) {
            tracing::warn!(import = self.name(), "call was fenced by a later call of the import");
            // If no other worker holds the lease, the later call was made under a lease
            // that this database no longer has.
            self.release_with_raised_token().await;
            return false;
        }
        let import = self.name();
        match self.retry.decide(error, &self.settings) {
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
