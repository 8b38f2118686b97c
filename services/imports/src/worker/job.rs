//! One import at work: its pages, one after the other, and what is at work beside
//! them.

mod ending;
mod holding;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use holding::keep;
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    identity::OnBehalf,
    ids::{self, IdKind},
    meter::{NONE, catalog},
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
        words::{Kind, Phase, Status},
    },
    error::ImportError,
    migrations,
    records_client::behalf_of,
    service::Imports,
    store::{self, edits::Edits, lease::Lease},
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
    next: String,
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
    phase: Phase,
    /// Up to where all is written.
    position: String,
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
            phase: lease.import.phase,
            position: lease.import.position.clone(),
            done: None,
            ahead: None,
            trouble: Trouble::default(),
            calls: AtomicI64::new(0),
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

    /// The fence of the next call that applies something: higher than those of all
    /// calls before it, also of this worker, which may have been given up and still
    /// be on their way.
    pub(super) fn next_fence(&self) -> i64 {
        self.lease.fence(self.calls.fetch_add(1, Ordering::Relaxed))
    }

    /// Where the page at hand begins; `None` at the beginning of the phase.
    pub(super) fn position<T: DeserializeOwned>(&self) -> Result<Option<T>, ImportError> {
        let position = self.done.as_ref().map_or(&self.position, |done| &done.next);
        if position.is_empty() {
            return Ok(None);
        }
        let position = serde_json::from_str(position);
        position.map(Some).map_err(|_| ImportError::Corrupt("a position"))
    }

    /// Works until the import has ended, is another's, or `stop` is cancelled.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let import = self.name();
        tracing::info!(import, phase = %self.phase, "work on an import begins");
        let keeping = keep(self.imports.clone(), self.settings, self.lease.clone());
        tokio::select! {
            () = keeping => tracing::warn!(import, "another worker has taken the import"),
            () = self.pages(&stop) => {}
        }
    }

    async fn pages(&mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let span = tracing::error_span!("page", import = self.name(), phase = %self.phase);
            let stepped = tokio::select! {
                stepped = self.step().instrument(span) => stepped,
                // What was being written then is not written again: it may yet be.
                () = overdue(stop) => return self.release().await,
            };
            match stepped {
                Ok(true) => self.trouble = Trouble::default(),
                Ok(false) | Err(WorkFault::LeaseLost) => return,
                Err(fault) => {
                    if !self.rest(&fault, stop).await {
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
        // Every record is read, also of an import that is cancelled: so that each
        // can be told of.
        let is_read = !matches!(self.phase, Phase::Reset | Phase::Index);
        if is_read && store::imports::is_cancelled(self.imports.db.reader(), self.key()).await? {
            self.settle().await?;
            self.give_up().await?;
            return Ok(false);
        }
        let ahead = self.ahead.take();
        let (settled, page) = tokio::join!(self.write_done(), self.page(ahead));
        self.settled(settled)?;
        let Page { edits, next, ahead } = page?;
        match (next, self.phase.next()) {
            (Some(next), _) => {
                let done = Done { edits: Arc::new(edits), next };
                if self.overlaps() {
                    self.done = Some(done);
                } else {
                    self.commit(done.edits, self.phase, done.next).await?;
                }
                self.ahead = ahead;
            }
            (None, Some(phase)) => {
                self.commit(Arc::new(edits), phase, String::new()).await?;
                self.go_on(phase).await;
            }
            (None, None) => {
                self.finish(edits).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn page(&self, ahead: Option<apply::Ahead>) -> Result<Page, WorkFault> {
        match self.phase {
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
        match self.phase {
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
            Some(Done { edits, next }) => self.write(Arc::clone(edits), self.phase, next).await,
            None => Ok(()),
        }
    }

    /// Notes how the writing of the page that was done has ended. When it failed,
    /// that page is done again.
    fn settled(&mut self, settled: Result<(), WorkFault>) -> Result<(), WorkFault> {
        let done = self.done.take();
        settled?;
        if let Some(Done { edits, next }) = done {
            self.count(&edits);
            self.position = next;
        }
        Ok(())
    }

    /// Begins a phase.
    async fn go_on(&mut self, phase: Phase) {
        if self.phase == Phase::Index {
            // So that it knows what the look-ups that follow will meet.
            self.imports.db.learn(migrations::LEARN).await;
        }
        tracing::info!(import = self.name(), %phase, "an import goes on");
        self.phase = phase;
    }

    /// Counts the verdicts of a page that was sent to the records service, once they
    /// are written.
    fn count(&self, edits: &Edits) {
        let kind = match self.phase {
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

    /// Writes a page, after which the import goes on at `position` of `phase`.
    async fn commit(
        &mut self,
        edits: Arc<Edits>,
        phase: Phase,
        position: String,
    ) -> Result<(), WorkFault> {
        self.write(Arc::clone(&edits), phase, &position).await?;
        self.count(&edits);
        self.position = position;
        Ok(())
    }

    async fn write(
        &self,
        edits: Arc<Edits>,
        phase: Phase,
        position: &str,
    ) -> Result<(), WorkFault> {
        let until = self.imports.clock.now() + self.settings.lease;
        let work = Arc::new((self.lease.clone(), edits, position.to_owned()));
        let written = self.imports.db.write(&self.key().practice, move |tx| {
            let work = Arc::clone(&work);
            async move {
                let (lease, edits, position) = &*work;
                if !store::lease::hold(&*tx, lease, until, phase, position).await? {
                    return Err(WorkFault::LeaseLost);
                }
                Ok(store::edits::write(&*tx, &lease.import.key, edits).await?)
            }
        });
        written.await
    }

    /// Waits after a fault; `false` when the import was set aside instead.
    async fn rest(&mut self, fault: &WorkFault, stop: &CancellationToken) -> bool {
        let import = self.name();
        match self.trouble.decide(fault, &self.settings) {
            Decision::Pause(pause) => {
                tracing::warn!(import, phase = %self.phase, error = %fault, "a page is tried again");
                self.note(fault.note()).await;
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                true
            }
            Decision::Stall => {
                tracing::error!(import, phase = %self.phase, error = %fault, "an import stalls");
                self.imports.meter.counter(&catalog::IMPORTS_STALLED, NONE).increment(1);
                self.stall(fault.note()).await;
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
