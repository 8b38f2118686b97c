//! Background jobs: expire imports that are not sealed, purge uploads after their
//! retention, and erase uploads of erased records.
//!
//! Every replica runs them. A job finds candidates without a lock, and checks each
//! again under a lock. A failure of one import does not affect the others. Workers skip
//! an import that cannot be read.

mod erasure;

use std::time::Duration;

use chrono::TimeDelta;
use concord_db::TenantScope;
use concord_server::jobs::{Failures, JobError, Subject};

use crate::{
    domain::{
        enums::State,
        import::{Import, ImportKey, UPLOAD_IDLE_TIMEOUT, UPLOAD_RETENTION, emptied_up_to},
    },
    error::ImportError,
    service::{Imports, rounds},
    store::{
        self, ImportDb,
        due::{Due, JobKind},
    },
};

/// Maximum number of imports of each kind that one round processes. The next round
/// starts immediately if it was reached.
const BATCH: u64 = 50;

/// Maximum number of rows removed in one transaction. On SQLite, it blocks all other
/// writers.
const ROWS_PER_TX: u64 = 2_000;

/// Maximum number of waiting imports that one round checks for readability.
const MAX_SCANNED: u64 = 1_000;

/// How long workers do not claim an import that cannot be read.
const UNREADABLE_CLAIM_DELAY: TimeDelta = TimeDelta::hours(1);

/// Delay before an erasure is finished after an open reader has blocked it.
const ERASURE_RETRY_DELAY: Duration = Duration::from_secs(1);

const READ_IMPORTS: &str = "read_imports";
const ERASE_RECORDS: &str = "erase_records";
const FINISH_ERASURE: &str = "finish_erasure";
const OTHER_JOBS: [&str; 3] = [READ_IMPORTS, ERASE_RECORDS, FINISH_ERASURE];

/// The name of a job, in the log and in the metrics.
const fn name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Expire => "expire_imports",
        JobKind::Purge => "purge_imports",
    }
}

/// Runs the jobs until the service stops; `every` is the interval between rounds.
pub(crate) async fn run(imports: Imports, every: Duration) {
    let stop = imports.stop.clone();
    let mut jobs = Jobs::new(imports);
    loop {
        let pause = match (jobs.run_round().await, jobs.finish_erasure().await) {
            (true, _) => Duration::ZERO,
            (false, true) => every,
            (false, false) => ERASURE_RETRY_DELAY,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = jobs.imports.db.erasure_requested() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The jobs of a replica, with the backoff state of those that failed.
#[derive(Debug)]
pub(crate) struct Jobs {
    imports: Imports,
    failures: Failures,
}

impl Jobs {
    pub(crate) fn new(imports: Imports) -> Self {
        let kinds = [JobKind::Expire, JobKind::Purge].map(name);
        let jobs = [&kinds[..], &OTHER_JOBS].concat();
        let failures = Failures::new(&imports.meter, &jobs);
        Self { imports, failures }
    }

    /// Runs one round. Returns true if there may be more due work.
    pub(crate) async fn run_round(&mut self) -> bool {
        self.defer_unreadable_imports().await;
        let mut more = false;
        for kind in [JobKind::Expire, JobKind::Purge] {
            more |= self.process_due(kind).await;
        }
        more | self.erase_records().await
    }

    /// Removes erased data from the files of the database. Returns true if nothing is left.
    async fn finish_erasure(&mut self) -> bool {
        let now = self.imports.clock.now();
        let finished = self.imports.db.finish_erasure().await.map_err(ImportError::from);
        let finished = self.failures.record(FINISH_ERASURE, Subject::default(), finished, now);
        // After a failure, the next round retries.
        finished.unwrap_or(true)
    }

    /// Processes the due imports of one kind, each in its own transactions. Returns true
    /// if there may be more.
    async fn process_due(&mut self, kind: JobKind) -> bool {
        let (job, now) = (name(kind), self.imports.clock.now());
        let before = match kind {
            JobKind::Expire => now - UPLOAD_IDLE_TIMEOUT,
            JobKind::Purge => now - UPLOAD_RETENTION,
        };
        let waiting = self.failures.backing_off(job, now);
        let db = self.imports.db.reader();
        let found = store::due::due(db, kind, before, &waiting, BATCH).await;
        let Some(found) = self.failures.record(job, Subject::default(), found, now) else {
            return false;
        };
        let more = u64::try_from(found.len()).unwrap_or(u64::MAX) >= BATCH;
        for due in found {
            if self.imports.stop.is_cancelled() {
                return false;
            }
            let done = process_one(&self.imports, kind, &due).await;
            let unreachable = done.as_ref().is_err_and(JobError::is_transient);
            self.failures.record(job, subject(due), done, now);
            if unreachable {
                // The other imports would run into the same timeout.
                return false;
            }
        }
        more
    }

    /// Defers claims of imports that cannot be read. Otherwise workers would claim such
    /// an import repeatedly, and no other.
    async fn defer_unreadable_imports(&mut self) {
        let now = self.imports.clock.now();
        let found = store::due::unreadable(self.imports.db.reader(), now, MAX_SCANNED).await;
        let found = self.failures.record(READ_IMPORTS, Subject::default(), found, now);
        for (due, error) in found.unwrap_or_default() {
            let (import, until) = (due.clone(), now + UNREADABLE_CLAIM_DELAY);
            let written = self.imports.db.write(TenantScope::AllPractices, move |tx| {
                let import = import.clone();
                async move { store::due::defer_claims(&*tx, &import, until).await }
            });
            let outcome = written.await.and(Err::<(), _>(error));
            self.failures.record(READ_IMPORTS, subject(due), outcome, now);
        }
    }
}

fn subject(Due { practice, import }: Due) -> Subject {
    Subject { practice: Some(practice), record: Some(import), product: None }
}

async fn process_one(imports: &Imports, kind: JobKind, due: &Due) -> Result<(), ImportError> {
    let (key, import) = (due.key()?, &due.import);
    match kind {
        JobKind::Expire => {
            tracing::info!(import, "expiring an idle import");
            expire(imports, key).await
        }
        JobKind::Purge => {
            tracing::info!(import, "purging the uploads of an import");
            while !imports.stop.is_cancelled() && purge_some(imports, &key).await? {}
            imports.db.request_erasure();
            Ok(())
        }
    }
}

async fn expire(imports: &Imports, key: ImportKey) -> Result<(), ImportError> {
    let now = imports.clock.now();
    let written = imports.db.write(TenantScope::from(&key.practice), move |tx| {
        let key = key.clone();
        async move {
            let import = store::imports::lock(ImportDb::of(&tx, &key)).await?;
            let idle = |import: &Import| {
                import.state == State::Receiving && import.touched_at < now - UPLOAD_IDLE_TIMEOUT
            };
            match import.filter(idle) {
                Some(import) => rounds::close(&tx, import, State::Expired, now).await,
                None => Ok(()),
            }
        }
    });
    written.await
}

/// Purges the next part of the uploads. Returns true if there is more. A partly purged
/// import cannot be retried.
async fn purge_some(imports: &Imports, key: &ImportKey) -> Result<bool, ImportError> {
    let (key, now) = (key.clone(), imports.clock.now());
    let written = imports.db.write(TenantScope::from(&key.practice), move |tx| {
        let key = key.clone();
        async move {
            let db = ImportDb::of(&tx, &key);
            let import = store::imports::lock(db).await?;
            let due = |import: &Import| {
                import.purged_at.is_none()
                    && import.ended_at.is_some_and(|at| at < now - UPLOAD_RETENTION)
            };
            let Some(import) = import.filter(due) else { return Ok(false) };
            let emptied = import.removal().unwrap_or_default();
            let emptied = store::purge::remove_some(db, emptied, ROWS_PER_TX).await?;
            let import = match emptied {
                Some(last) => Import { position: emptied_up_to(last), ..import },
                None => Import { position: String::new(), purged_at: Some(now), ..import },
            };
            store::imports::update_state(&*tx, &import).await?;
            Ok::<_, ImportError>(emptied.is_some())
        }
    });
    written.await
}

#[cfg(test)]
mod tests;
