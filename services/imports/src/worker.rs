//! What happens after the seal: one worker in each replica.
//!
//! A worker claims an import, and takes it through its phases, one page at a
//! time. Each page ends in one transaction that changes the records, the numbers
//! and the position together, and only while the lease is the worker's own and the
//! import is where the page began. While one page is applied, the one before it is
//! written and the one after it is read. So a worker that is killed loses at most two
//! pages of work, which the next one does again: the records service answers a chunk
//! that it has seen as it did the first time.
//!
//! After every fault the worker forgets the pages that it has in memory, and reads
//! where the import is: the transaction of a page may have been committed although
//! its answer was lost, and a database may have gone back to an earlier state.

mod apply;
mod index;
mod job;
mod keys;
mod outside;
mod periods;
mod references;
mod replace;
pub(crate) mod reset;
mod trouble;

use std::time::Duration;

use job::Job;
use shared::{
    db::{Scope, fault},
    ids,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    config::WorkerSettings,
    error::ImportError,
    service::Imports,
    store::{self, lease::Lease},
};

/// The worker of a replica.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    imports: Imports,
    settings: WorkerSettings,
}

impl Worker {
    pub(crate) fn new(imports: Imports, settings: WorkerSettings) -> Self {
        Self { imports, settings }
    }

    /// Works until `stop` is cancelled; then ends at the next page.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut at_work = JoinSet::new();
        while !stop.is_cancelled() {
            while at_work.len() < self.settings.imports_at_once {
                let Some(lease) = self.claim().await else { break };
                at_work.spawn(Job::new(&self, lease).run(stop.clone()));
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.imports.wake.notified() => {}
                () = tokio::time::sleep(jittered(self.settings.poll_every)) => {}
                Some(ended) = at_work.join_next(), if !at_work.is_empty() => ended_well(&ended),
            }
        }
        while let Some(ended) = at_work.join_next().await {
            ended_well(&ended);
        }
    }

    /// The next import to work on.
    async fn claim(&self) -> Option<Lease> {
        let now = self.imports.clock.now();
        let (id, until) = (ids::new_uuid(), now + self.settings.lease);
        let claimed = self.imports.db.write(Scope::AllPractices, move |tx| async move {
            store::lease::claim(&*tx, id, now, until).await
        });
        match claimed.await {
            Ok(lease) => lease,
            Err(ImportError::Database(error)) if fault(&error) == shared::db::Fault::Duplicate => {
                // Another replica was first with an import of the same practice.
                None
            }
            Err(error) => {
                tracing::warn!(%error, "cannot look for imports");
                None
            }
        }
    }
}

fn ended_well(ended: &Result<(), tokio::task::JoinError>) {
    if ended.is_err() {
        // Its lease will end, and the import be taken up again. The log has the panic.
        tracing::error!("work on an import broke off");
    }
}

/// A little more or less, so that replicas do not all look at the same moment.
fn jittered(time: Duration) -> Duration {
    let random = ids::new_uuid().as_bytes().last().copied().unwrap_or_default();
    time.mul_f64(0.75 + f64::from(random) / 512.0)
}
