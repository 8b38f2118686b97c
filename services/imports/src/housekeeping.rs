//! What happens by itself: imports that nobody finishes expire; what was uploaded is
//! removed a while after the end, and at once when its record is erased.
//!
//! Every replica goes round. What is due is looked for without a lock, and looked
//! at again under it. A failure for one import does not affect the others.
//! Workers skip an import that cannot be read.

mod erasing;

use std::time::Duration;

use chrono::TimeDelta;
use shared::{
    db::Scope,
    jobs::{Failures, Subject},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        import::{Import, ImportKey, RowId, emptied_up_to},
        words::State,
    },
    error::ImportError,
    service::{Imports, rounds},
    store::{
        self,
        due::{Due, Work},
    },
};

/// How soon it is tried again to finish an erasure, when a reader was in the way.
const RETRY_ERASURE: Duration = Duration::from_secs(1);

/// Imports that one round deals with, of each kind of work; the next follows at once
/// when there were as many.
const BATCH: u64 = 50;

/// Rows that are removed in one transaction at most: on SQLite all other writers wait
/// for it.
const PAGE: u64 = 2_000;

/// Waiting imports of which one round looks whether they can be read.
const LOOKED_AT: u64 = 1_000;

/// How long an import that cannot be read is kept from the workers.
const KEPT_FROM_WORKERS: TimeDelta = TimeDelta::hours(1);

/// How long an import waits for its next batch, or its seal.
pub(crate) const IDLE: TimeDelta = TimeDelta::hours(24);

/// How long what was uploaded is kept after the end.
pub(crate) const KEPT: TimeDelta = TimeDelta::days(30);

const READ_IMPORTS: &str = "read_imports";
const ERASE_RECORDS: &str = "erase_records";
const FINISH_ERASURE: &str = "finish_erasure";

/// The name of a kind of work, in the log and in the metrics.
const fn name(work: Work) -> &'static str {
    match work {
        Work::Expire => "expire_imports",
        Work::Purge => "purge_imports",
    }
}

/// Goes round, once in `every`, until the service stops.
pub(crate) async fn run(imports: Imports, every: Duration, stop: CancellationToken) {
    let mut keeping = Housekeeping::new(imports);
    while !stop.is_cancelled() {
        let pause = match (keeping.step().await, keeping.finish_erasure().await) {
            (true, _) => Duration::ZERO,
            (false, true) => every,
            (false, false) => RETRY_ERASURE,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = keeping.imports.db.erasure() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The work of a replica, and what of it has failed.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    imports: Imports,
    failures: Failures,
}

impl Housekeeping {
    pub(crate) fn new(imports: Imports) -> Self {
        let [expire, purge] = [Work::Expire, Work::Purge].map(name);
        let jobs = [expire, purge, READ_IMPORTS, ERASE_RECORDS, FINISH_ERASURE];
        let failures = Failures::new(&imports.meter, &jobs);
        Self { imports, failures }
    }

    /// One round; whether there may be more to do at once.
    pub(crate) async fn step(&mut self) -> bool {
        self.keep_unreadable_from_workers().await;
        let mut more = false;
        for work in [Work::Expire, Work::Purge] {
            more |= self.deal_with(work).await;
        }
        more | self.erase_records().await
    }

    /// Removes from the files of the database what was erased; whether nothing is left.
    async fn finish_erasure(&mut self) -> bool {
        let now = self.imports.clock.now();
        let finished = self.imports.db.finish_erasure().await.map_err(ImportError::from);
        let finished = self.failures.note(FINISH_ERASURE, Subject::default(), finished, now);
        // A failure waits for the next round.
        finished.unwrap_or(true)
    }

    /// Deals with the imports whose time has come, each for itself; whether there may
    /// be more of them.
    async fn deal_with(&mut self, work: Work) -> bool {
        let (job, now) = (name(work), self.imports.clock.now());
        let before = match work {
            Work::Expire => now - IDLE,
            Work::Purge => now - KEPT,
        };
        let waiting = self.failures.waiting(job, now);
        let db = self.imports.db.reader();
        let found = store::due::due(db, work, before, &waiting, BATCH).await;
        let Some(found) = self.failures.note(job, Subject::default(), found, now) else {
            return false;
        };
        let more = u64::try_from(found.len()).unwrap_or(u64::MAX) >= BATCH;
        for due in found {
            if self.imports.stop.is_cancelled() {
                return false;
            }
            let done = deal_with_one(&self.imports, work, &due).await;
            let unreachable = done.as_ref().is_err_and(shared::jobs::JobError::is_passing);
            self.failures.note(job, subject(due), done, now);
            if unreachable {
                // The others would wait for the database as long as this one did.
                return false;
            }
        }
        more
    }

    /// An import that cannot be read would be the next one that is claimed, again and
    /// again, and no other.
    async fn keep_unreadable_from_workers(&mut self) {
        let now = self.imports.clock.now();
        let found = store::due::unreadable(self.imports.db.reader(), now, LOOKED_AT).await;
        let found = self.failures.note(READ_IMPORTS, Subject::default(), found, now);
        for (due, error) in found.unwrap_or_default() {
            let (kept, until) = (due.clone(), now + KEPT_FROM_WORKERS);
            let written = self.imports.db.write(Scope::AllPractices, move |tx| {
                let kept = kept.clone();
                async move { store::due::keep_from_workers(&*tx, &kept, until).await }
            });
            let outcome = written.await.and(Err::<(), _>(error));
            self.failures.note(READ_IMPORTS, subject(due), outcome, now);
        }
    }
}

fn subject(Due { practice, import }: Due) -> Subject {
    Subject { practice: Some(practice), record: Some(import), product: None }
}

async fn deal_with_one(imports: &Imports, work: Work, due: &Due) -> Result<(), ImportError> {
    let (key, import) = (due.key()?, &due.import);
    match work {
        Work::Expire => {
            tracing::info!(import, "an import that nobody finished has expired");
            expire(imports, key).await
        }
        Work::Purge => {
            tracing::info!(import, "the records of an import are removed");
            while !imports.stop.is_cancelled() && purge_some(imports, &key).await? {}
            imports.db.erased();
            Ok(())
        }
    }
}

async fn expire(imports: &Imports, key: ImportKey) -> Result<(), ImportError> {
    let now = imports.clock.now();
    let written = imports.db.write(Scope::from(&key.practice), move |tx| {
        let key = key.clone();
        async move {
            let import = store::imports::lock(&*tx, &key).await?;
            let idle = |import: &Import| {
                import.state == State::Receiving && import.touched_at < now - IDLE
            };
            match import.filter(idle) {
                Some(import) => rounds::close(&tx, import, State::Expired, now).await,
                None => Ok(()),
            }
        }
    });
    written.await
}

/// Removes the next part of what was uploaded; whether there is more. An import of
/// which a part is removed cannot be tried again.
async fn purge_some(imports: &Imports, key: &ImportKey) -> Result<bool, ImportError> {
    let (key, now) = (key.clone(), imports.clock.now());
    let written = imports.db.write(Scope::from(&key.practice), move |tx| {
        let key = key.clone();
        async move {
            let import = store::imports::lock(&*tx, &key).await?;
            let due = |import: &Import| {
                import.purged_at.is_none() && import.ended_at.is_some_and(|at| at < now - KEPT)
            };
            let Some(import) = import.filter(due) else { return Ok(false) };
            let emptied = import.removal().unwrap_or(RowId { batch: 0, row: 0 });
            let emptied = store::purge::remove_some(&*tx, &key, emptied, PAGE).await?;
            let import = match emptied {
                Some(last) => Import { position: emptied_up_to(last), ..import },
                None => Import { position: String::new(), purged_at: Some(now), ..import },
            };
            store::imports::turn(&*tx, &import).await?;
            Ok::<_, ImportError>(emptied.is_some())
        }
    });
    written.await
}

#[cfg(test)]
mod tests;
