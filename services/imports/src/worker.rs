//! The import worker: processes sealed imports. Each replica has one.
//!
//! A worker claims an import and runs its phases, one page at a time. Each page ends
//! with one transaction that writes the records, the counters and the checkpoint
//! together, and only if the worker holds the lease and the stored checkpoint is the
//! one that the page started from. The worker is pipelined: while one page is applied,
//! the previous one is written and the next one is read. A worker that is killed loses
//! two pages of work at most, and the next worker repeats them. This is safe because
//! applying is idempotent: the records service answers a repeated chunk as it did the
//! first time.
//!
//! After every error the worker discards the pages in memory and reloads the
//! checkpoint: the transaction of a page may have been committed although its response
//! was lost, and a database may have been restored to an earlier state.

mod apply;
mod external_parents;
mod index;
mod job;
mod keys;
mod page_context;
mod periods;
mod references;
mod replace;
mod reset;
mod retry_policy;

use concord_core::ids;
use concord_db::{TenantScope, error_kind};
use job::Job;
use retry_policy::jittered;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    config::WorkerSettings,
    error::ImportError,
    service::Imports,
    store::{self, lease::Lease},
};

/// The import worker of a replica.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    imports: Imports,
    settings: WorkerSettings,
}

impl Worker {
    pub(crate) fn new(imports: Imports, settings: WorkerSettings) -> Self {
        Self { imports, settings }
    }

    /// Runs until `stop` is cancelled; then drains: it finishes the current pages.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut jobs = JoinSet::new();
        while !stop.is_cancelled() {
            while jobs.len() < self.settings.imports_at_once {
                let Some(lease) = self.claim().await else { break };
                jobs.spawn(Job::new(self.imports.clone(), self.settings, lease).run(stop.clone()));
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.imports.wake.notified() => {}
                () = tokio::time::sleep(jittered(self.settings.poll_every)) => {}
                Some(result) = jobs.join_next(), if !jobs.is_empty() => log_panic(&result),
            }
        }
        while let Some(result) = jobs.join_next().await {
            log_panic(&result);
        }
    }

    /// Claims the next import.
    async fn claim(&self) -> Option<Lease> {
        let now = self.imports.clock.now();
        let (id, until) = (ids::new_uuid(), now + self.settings.lease);
        let claimed = self.imports.db.write(TenantScope::AllPractices, move |tx| async move {
            store::lease::claim(&*tx, id, now, until).await
        });
        match claimed.await {
            Ok(lease) => lease,
            Err(ImportError::Database(error))
                if error_kind(&error) == concord_db::DbErrorKind::Duplicate =>
            {
                // Another replica has just claimed an import of the same practice.
                None
            }
            Err(error) => {
                tracing::warn!(%error, "claiming an import failed");
                None
            }
        }
    }
}

fn log_panic(result: &Result<(), tokio::task::JoinError>) {
    if result.is_err() {
        // The lease expires, and the import is claimed again. The log has the panic.
        tracing::error!("import job panicked");
    }
}
