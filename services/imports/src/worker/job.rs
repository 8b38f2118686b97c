//! One import at work: its pages, one after the other, and what is at work beside
//! them.

mod ending;
mod erasing;
mod holding;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use holding::keep;
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    identity::OnBehalf,
    ids::{self, IdKind},
    meter::catalog,
    wire::ApplyRecord,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    Worker, apply, index, keys, outside, periods, references, replace, reset,
    trouble::{Decision, Trouble, WorkFault},
};
use crate::{
    config::WorkerSettings,
    domain::{
        import::ImportKey,
        words::{Kind, Phase, State, Status},
    },
    error::ImportError,
    migrations,
    records_client::{Applied, Fences, Outcome, behalf_of},
    service::Imports,
    store::{
        self,
        edits::Edits,
        lease::{Lease, Place},
    },
};

/// How long the page at hand may take when the service stops. Cut off, it is
/// done again by the next worker.
const STOP_TIME: Duration = Duration::from_secs(10);

/// What a page of work comes to.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) edits: Edits,
    /// Where the next page of the phase begins; `None` when there is none.
    pub(super) next: Option<String>,
    /// The next page, when it was read meanwhile.
    pub(super) ahead: Option<apply::Ahead>,
}

impl Page {
    /// A page, after which the phase goes on at `position`.
    pub(super) fn more(edits: Edits, position: &impl Serialize) -> Result<Self, ImportError> {
        let position = serde_json::to_string(position);
        let position = position.map_err(|_| ImportError::Corrupt("a position"))?;
        Ok(Self { edits, next: Some(position), ahead: None })
    }

    /// The last page of the phase.
    pub(super) fn last(edits: Edits) -> Self {
        Self { edits, next: None, ahead: None }
    }
}

/// A page that is done, and written while the next one of its phase is at work.
#[derive(Debug)]
struct Done {
    edits: Arc<Edits>,
    next: Place,
}

/// An import at work.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) imports: Imports,
    pub(super) settings: WorkerSettings,
    pub(super) behalf: OnBehalf,
    lease: Lease,
    /// Calls that were made under the lease, to apply something.
    calls: AtomicI64,
    /// The fence of the last call that was answered.
    answered: AtomicI64,
    /// Up to where all is written.
    at: Place,
    /// Whether that has to be read again.
    unsure: bool,
    /// The fence that the records service has gone back to, when it has.
    lost_after: Option<i64>,
    /// The last erasure that the import knows, once it was looked through.
    known_erasure: Option<i64>,
    done: Option<Done>,
    ahead: Option<apply::Ahead>,
    trouble: Trouble,
}

impl Job {
    pub(super) fn new(worker: &Worker, lease: Lease) -> Self {
        Self {
            imports: worker.imports.clone(),
            settings: worker.settings,
            behalf: behalf_of(&lease.import),
            at: Place {
                phase: lease.import.phase,
                position: lease.import.position.clone(),
                applied_fence: lease.applied_fence,
            },
            unsure: false,
            lost_after: None,
            known_erasure: None,
            done: None,
            ahead: None,
            trouble: Trouble::at_the_claim(lease.was_stalled),
            calls: AtomicI64::new(0),
            answered: AtomicI64::new(lease.applied_fence),
            lease,
        }
    }

    /// The import.
    pub(super) fn key(&self) -> &ImportKey {
        &self.lease.import.key
    }

    /// Its id, as callers know it.
    pub(super) fn name(&self) -> String {
        ids::text(IdKind::Import, self.key().id)
    }

    /// The pass over the records: 1 is the first.
    pub(super) fn round(&self) -> i64 {
        self.lease.import.round
    }

    /// Whether records may have been applied before, in an earlier pass.
    pub(super) fn has_applied_before(&self) -> bool {
        self.lease.import.ended_before.is_some_and(|state| state != State::Validated)
    }

    /// Whether records may have been read before, in an earlier pass.
    pub(super) fn is_again(&self) -> bool {
        self.lease.import.ended_before.is_some()
    }

    /// Whether nothing is to be applied.
    pub(super) fn validate_only(&self) -> bool {
        self.lease.import.validate_only
    }

    /// How often the page at hand was tried in vain.
    pub(super) fn tries(&self) -> u32 {
        self.trouble.tries
    }

    /// The fences of the next call that applies something: higher than those of all
    /// calls before it, also of this worker, which may have been given up and still
    /// be on their way.
    fn next_fences(&self) -> Fences {
        let fence = self.lease.fence(self.calls.fetch_add(1, Ordering::Relaxed));
        Fences { fence, applied_fence: self.answered.load(Ordering::Relaxed) }
    }

    /// Has records applied by one call; an outcome for each, in order.
    pub(super) async fn apply(&self, records: Vec<ApplyRecord>) -> Result<Vec<Outcome>, WorkFault> {
        let fences = self.next_fences();
        let how = (self.validate_only(), self.known_erasure.unwrap_or_default());
        let applied = self.imports.records.apply(&self.behalf, records, fences, how).await?;
        self.answered(fences, applied)
    }

    /// Takes note of a call that was answered.
    fn answered(&self, fences: Fences, applied: Applied) -> Result<Vec<Outcome>, WorkFault> {
        match applied {
            Applied::Lost { fence } => Err(WorkFault::RecordsLost { fence }),
            Applied::Outcomes(outcomes) => {
                // Nothing is kept of a call that only checks, nor of its fence.
                if !self.validate_only() {
                    self.answered.store(fences.fence, Ordering::Relaxed);
                }
                Ok(outcomes)
            }
        }
    }

    /// Fences off every chunk that was sent before. A delayed chunk, of this worker or
    /// of an earlier one, must not be applied to a record that is reported as failed,
    /// or that another record then replaces.
    pub(super) async fn fence_off(&self) -> Result<(), WorkFault> {
        let fences = self.next_fences();
        let raised = self.imports.records.raise_fence(&self.behalf, fences).await?;
        self.answered(fences, raised).map(drop)
    }

    /// Where the page at hand begins; `None` at the beginning of the phase.
    pub(super) fn position<T: DeserializeOwned>(&self) -> Result<Option<T>, ImportError> {
        let position = &self.done.as_ref().map_or(&self.at, |done| &done.next).position;
        if position.is_empty() {
            return Ok(None);
        }
        let position = serde_json::from_str(position);
        position.map(Some).map_err(|_| ImportError::Corrupt("a position"))
    }

    /// Works until the import has ended, is another's, or `stop` is cancelled.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let import = self.name();
        tracing::info!(import, phase = %self.at.phase, "work on an import begins");
        let keeping = keep(self.imports.clone(), self.settings, self.lease.clone());
        tokio::select! {
            () = keeping => tracing::warn!(import, "another worker has taken the import"),
            () = self.pages(&stop) => {}
        }
    }

    async fn pages(&mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let span = tracing::error_span!("page", import = self.name(), phase = %self.at.phase);
            // A panic is a fault of this import, not of the worker.
            let page = AssertUnwindSafe(self.step().instrument(span)).catch_unwind();
            let stepped = tokio::select! {
                stepped = page => stepped.unwrap_or(Err(WorkFault::Panicked)),
                // What was being written then is not written again: it may yet be.
                () = overdue(stop) => return self.release().await,
            };
            match stepped {
                Ok(true) => self.trouble = Trouble::default(),
                Ok(false) | Err(WorkFault::LeaseLost) => return,
                Err(fault) => {
                    if !self.recover(&fault, stop).await {
                        return;
                    }
                }
            }
        }
        if let Err(fault) = self.settle().await {
            tracing::info!(error = %fault, "the last page of a worker will be done again");
        }
        self.release().await;
    }

    /// Does one page; whether there is more to do.
    async fn step(&mut self) -> Result<bool, WorkFault> {
        if self.unsure {
            self.look_again().await?;
        }
        // Every record is read, also of a cancelled import, so that each can be
        // reported. Unless reading fails.
        let is_read = !matches!(self.at.phase, Phase::Reset | Phase::Index);
        let may_stop = is_read || self.trouble.tries > 0;
        if may_stop && store::imports::is_cancelled(self.imports.db.reader(), self.key()).await? {
            self.settle().await?;
            self.give_up().await?;
            return Ok(false);
        }
        if self.known_erasure.is_none() && self.at.phase >= Phase::Parents {
            self.erase().await?;
        }
        let ahead = self.ahead.take();
        let (settled, page) = tokio::join!(self.write_done(), self.page(ahead));
        self.settled(settled)?;
        let Page { edits, next, ahead } = page?;
        let applied_fence = self.answered.load(Ordering::Relaxed);
        let phase = self.at.phase;
        match (next, phase.next()) {
            (Some(position), _) => {
                let next = Place { phase, position, applied_fence };
                let done = Done { edits: Arc::new(edits), next };
                if self.overlaps() {
                    self.done = Some(done);
                } else {
                    self.commit(done).await?;
                }
                self.ahead = ahead;
            }
            (None, Some(next)) => {
                let next = Place { phase: next, position: String::new(), applied_fence };
                self.commit(Done { edits: Arc::new(edits), next }).await?;
                self.phase_begins(phase).await;
            }
            (None, None) => {
                self.finish(edits).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn page(&self, ahead: Option<apply::Ahead>) -> Result<Page, WorkFault> {
        match self.at.phase {
            Phase::Reset => reset::page(self).await,
            Phase::Index => index::page(self).await,
            Phase::Replace => replace::page(self).await,
            Phase::Keys => keys::page(self).await,
            Phase::References => references::page(self).await,
            Phase::Periods => periods::page(self).await,
            Phase::Parents => outside::page(self).await,
            Phase::Clients => apply::page(self, Kind::Client, ahead).await,
            Phase::Contacts => apply::page(self, Kind::Contact, ahead).await,
            Phase::Addresses => apply::page(self, Kind::Address, ahead).await,
        }
    }

    /// Whether a page of the phase may be at work before the one before it is
    /// written: whether what it reads has nothing of that.
    fn overlaps(&self) -> bool {
        match self.at.phase {
            Phase::Index => true,
            // Parents are of another kind, and so of an earlier phase. In a dry run
            // a record is compared with those of all pages before.
            Phase::Clients | Phase::Contacts | Phase::Addresses => !self.validate_only(),
            _ => false,
        }
    }

    /// Writes the page that is done, if there is one.
    async fn settle(&mut self) -> Result<(), WorkFault> {
        let settled = self.write_done().await;
        self.settled(settled)
    }

    async fn write_done(&self) -> Result<(), WorkFault> {
        match &self.done {
            Some(done) => self.write(done).await,
            None => Ok(()),
        }
    }

    /// Notes how the writing of the page that was done has ended. When it failed,
    /// that page is done again.
    fn settled(&mut self, settled: Result<(), WorkFault>) -> Result<(), WorkFault> {
        let done = self.done.take();
        settled?;
        if let Some(done) = done {
            self.written(done);
        }
        Ok(())
    }

    /// A phase was entered from the one before.
    async fn phase_begins(&self, before: Phase) {
        if before == Phase::Index {
            // So that it knows what the look-ups that follow will meet.
            self.imports.db.learn(migrations::LEARN).await;
        }
        tracing::info!(import = self.name(), phase = %self.at.phase, "import resumed");
    }

    /// Counts the verdicts of a page that was sent to the records service, once they
    /// are written.
    fn count(&self, edits: &Edits) {
        let kind = match self.at.phase {
            Phase::Clients => Kind::Client,
            Phase::Contacts => Kind::Contact,
            Phase::Addresses => Kind::Address,
            _ => return,
        };
        for status in Status::ALL {
            let of = edits.marks.iter().filter(|mark| mark.status == *status).count();
            if of > 0 {
                let labels = [kind.as_str(), status.as_str()];
                let counter = self.imports.meter.counter(&catalog::RECORDS_APPLIED, labels);
                counter.increment(u64::try_from(of).unwrap_or(0));
            }
        }
    }

    /// Writes a page.
    async fn commit(&mut self, done: Done) -> Result<(), WorkFault> {
        self.write(&done).await?;
        self.written(done);
        Ok(())
    }

    /// A page is written: the import is where the next one begins.
    fn written(&mut self, done: Done) {
        self.count(&done.edits);
        self.at = done.next;
    }

    async fn write(&self, done: &Done) -> Result<(), WorkFault> {
        let until = self.imports.clock.now() + self.settings.lease;
        let Done { edits, next } = done;
        let work = (self.lease.clone(), self.at.clone(), next.clone(), Arc::clone(edits));
        let work = Arc::new(work);
        let written = self.imports.db.write(&self.key().practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (lease, at, next, edits) = &*work;
                if !store::lease::hold(&*tx, lease, until, at, next).await? {
                    return Err(WorkFault::Moved);
                }
                Ok(store::edits::write(&*tx, &lease.import.key, edits).await?)
            }
        });
        written.await
    }

    /// Reads where the import is, after a fault: what was written last, and whether
    /// it was, is not known.
    async fn look_again(&mut self) -> Result<(), WorkFault> {
        let at = store::lease::place(self.imports.db.reader(), &self.lease).await?;
        self.at = at.ok_or(WorkFault::LeaseLost)?;
        if let Some(fence) = self.lost_after.filter(|fence| *fence < self.at.applied_fence) {
            self.apply_again(fence).await?;
        }
        self.answered = AtomicI64::new(self.at.applied_fence);
        (self.unsure, self.lost_after) = (false, None);
        Ok(())
    }

    /// Has everything applied again that was applied in the round, because the
    /// records service does not have it any more. What it still has, it answers as
    /// before. What it lost of an earlier round is not known here: its children fail.
    async fn apply_again(&mut self, applied_fence: i64) -> Result<(), WorkFault> {
        let until = self.imports.clock.now() + self.settings.lease;
        let next = match self.at.phase.state() {
            State::Applying => {
                Place { phase: Phase::Clients, position: String::new(), applied_fence }
            }
            _ => Place { applied_fence, ..self.at.clone() },
        };
        let work = Arc::new((self.lease.clone(), self.at.clone(), next.clone()));
        let written = self.imports.db.write(&self.key().practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (lease, at, next) = &*work;
                if !store::lease::hold(&*tx, lease, until, at, next).await? {
                    return Err(WorkFault::Moved);
                }
                let (key, round) = (&lease.import.key, lease.import.round);
                let records = store::records::apply_again(&*tx, key, round).await?;
                store::duplicates::remove_of_ready(&*tx, key).await?;
                store::tally::recount(&*tx, key, Status::Staged).await?;
                Ok(records)
            }
        });
        let records = written.await?;
        self.at = next;
        tracing::warn!(
            import = self.name(),
            records,
            "the records service has lost what was applied; it is applied again"
        );
        Ok(())
    }

    /// After a fault: waits, or ends the work; whether to continue.
    async fn recover(&mut self, fault: &WorkFault, stop: &CancellationToken) -> bool {
        (self.unsure, self.done, self.ahead) = (true, None, None);
        if let WorkFault::RecordsLost { fence } = fault {
            self.lost_after = Some(*fence);
        }
        if matches!(fault, WorkFault::Stale) {
            tracing::warn!(import = self.name(), "a later call of the import was made");
            // Unless another worker has the import, it was made by a lease that the
            // database does not have any more.
            self.release_above().await;
            return false;
        }
        let import = self.name();
        match self.trouble.decide(fault, &self.settings) {
            Decision::Pause(pause) => {
                let phase = self.at.phase;
                tracing::warn!(import, %phase, error = %fault, "a page is tried again");
                self.note(fault.note()).await;
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                true
            }
            Decision::Stall => {
                tracing::error!(import, phase = %self.at.phase, error = %fault, "an import stalls");
                self.set_aside(fault.note()).await;
                false
            }
            Decision::Fail => {
                if let Err(error) = self.fail(fault).await {
                    tracing::warn!(import, %error, "a failed import could not be ended");
                    self.set_aside(fault.note()).await;
                }
                false
            }
        }
    }
}

/// Ends when a page should have ended after the stop.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_TIME).await;
}
