//! Background jobs: activate scheduled entries, purge orphaned records, delete expired
//! idempotency keys, fencing tokens and erasures, and purge old changes from the feeds.
//!
//! Every replica runs them in rounds. A job finds due work without a lock and checks it
//! again under the record's lock, so that it is done once. A failure for one record, or of
//! one kind of job, does not affect the others.

use std::time::Duration;

use concord_core::caller::{Caller, PracticeId};
use concord_db::TenantScope;
use concord_server::{
    jobs::{Failures, JobError, Subject},
    meter::Meter,
};

use crate::{
    domain::record::RecordRef,
    error::RecordError,
    service::Records,
    store::{
        due::{self, DueRecord, JobKind},
        expiry::{self, Expiring},
        feed::retention,
    },
};

/// Interval between rounds.
const ROUND_INTERVAL: Duration = Duration::from_secs(20);

/// Maximum number of records of each kind that one round processes. The next round starts
/// immediately if it was reached.
const BATCH: u64 = 200;

/// Maximum number of expired rows of each table that one round deletes, in one
/// transaction. The next round starts immediately if it was reached.
const EXPIRY_BATCH: u64 = 2_000;

/// Maximum number of transactions in which one round purges the feed of a product. The
/// next round starts immediately if it was reached.
const MAX_PURGE_BATCHES: u32 = 10;

/// Retention of idempotency keys, with the stored responses of their requests.
const RESPONSE_RETENTION: chrono::TimeDelta = chrono::TimeDelta::days(7);

/// Retention of an import's fencing token after its last call. An import can be retried
/// for 30 days after its end, so no call is later than this.
const FENCE_RETENTION: chrono::TimeDelta = chrono::TimeDelta::days(60);

/// Retention of erasures for the imports service. Uploaded data is retained for 30 days
/// after the end of an import, and is older than the erasures that concern it.
const ERASURE_RETENTION: chrono::TimeDelta = chrono::TimeDelta::days(90);

/// Delay before an erasure is finished after an open reader has blocked it.
const ERASURE_RETRY_DELAY: Duration = Duration::from_secs(1);

const EXPIRE_RESPONSES: &str = "forget_answers";
const EXPIRE_FENCES: &str = "forget_fences";
const EXPIRE_ERASURES: &str = "forget_erasures";
const FINISH_ERASURE: &str = "finish_erasure";
const PURGE_FEED: &str = "purge_feed";
const OTHER_JOBS: [&str; 5] =
    [EXPIRE_RESPONSES, EXPIRE_FENCES, EXPIRE_ERASURES, PURGE_FEED, FINISH_ERASURE];

/// The name of a job, in the log and in the metrics.
const fn name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Rollover => "turn_entries",
        JobKind::PurgeClient => "purge_clients",
        JobKind::PurgePerson => "purge_persons",
    }
}

/// Runs the jobs until the service stops.
pub(crate) async fn run(records: Records, meter: Meter) {
    let stop = records.feed.stop().clone();
    let mut jobs = Jobs::new(records, &meter);
    loop {
        let pause = match (jobs.run_round().await, jobs.finish_erasure().await) {
            (true, _) => Duration::ZERO,
            (false, true) => ROUND_INTERVAL,
            (false, false) => ERASURE_RETRY_DELAY,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = jobs.records.db.erasure_requested() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The jobs of a replica, with the backoff state of those that failed.
#[derive(Debug)]
pub(crate) struct Jobs {
    records: Records,
    failures: Failures,
}

impl Jobs {
    pub(crate) fn new(records: Records, meter: &Meter) -> Self {
        let kinds = [JobKind::Rollover, JobKind::PurgeClient, JobKind::PurgePerson].map(name);
        let jobs = [&kinds[..], &OTHER_JOBS].concat();
        Self { records, failures: Failures::new(meter, &jobs) }
    }

    /// Runs one round. Returns true if there may be more due work.
    pub(crate) async fn run_round(&mut self) -> bool {
        let mut more = false;
        for kind in [JobKind::Rollover, JobKind::PurgeClient, JobKind::PurgePerson] {
            more |= self.process_due(kind).await;
        }
        for what in [Expiring::Responses, Expiring::Fences, Expiring::Erasures] {
            more |= self.expire(what).await;
        }
        more | self.purge_feeds().await
    }

    /// Processes the due records of one kind, each in its own transaction. Returns true if
    /// there may be more.
    async fn process_due(&mut self, kind: JobKind) -> bool {
        let (job, now) = (name(kind), self.records.clock.now());
        let until = match kind {
            JobKind::Rollover => self.records.clock.today().into(),
            JobKind::PurgeClient | JobKind::PurgePerson => now.into(),
        };
        let waiting = self.failures.backing_off(job, now);
        let found = due::due(self.records.db.reader(), kind, until, &waiting, BATCH).await;
        let Some(mut found) = self.failures.record(job, Subject::default(), found, now) else {
            return false;
        };
        let more = u64::try_from(found.len()).unwrap_or(u64::MAX) >= BATCH;
        found.sort();
        found.dedup();
        for due in found {
            let done = process_one(&self.records, kind, &due).await;
            let unreachable = done.as_ref().is_err_and(RecordError::is_transient);
            let (practice, record) = (Some(due.practice), Some(due.record));
            let subject = Subject { practice, record, product: None };
            self.failures.record(job, subject, done, now);
            if unreachable {
                // The other records would fail in the same way.
                return false;
            }
        }
        more
    }

    /// Deletes the oldest expired rows of one table. Returns true if there may be more.
    async fn expire(&mut self, what: Expiring) -> bool {
        let (job, retention) = match what {
            Expiring::Responses => (EXPIRE_RESPONSES, RESPONSE_RETENTION),
            Expiring::Fences => (EXPIRE_FENCES, FENCE_RETENTION),
            Expiring::Erasures => (EXPIRE_ERASURES, ERASURE_RETENTION),
        };
        let now = self.records.clock.now();
        if self.failures.is_backing_off(job, &Subject::default(), now) {
            return false;
        }
        let delete = self.records.db.write(TenantScope::AllPractices, move |tx| async move {
            expiry::remove_oldest(&*tx, what, now - retention, EXPIRY_BATCH).await
        });
        let deleted = self.failures.record(job, Subject::default(), delete.await, now);
        deleted.is_some_and(|count| count >= EXPIRY_BATCH)
    }

    /// Removes erased data from the files of the database. Returns true if nothing is left.
    async fn finish_erasure(&mut self) -> bool {
        let now = self.records.clock.now();
        let finished = self.records.db.finish_erasure().await.map_err(RecordError::from);
        let finished = self.failures.record(FINISH_ERASURE, Subject::default(), finished, now);
        // After a failure, the next round retries.
        finished.unwrap_or(true)
    }

    /// Purges the changes beyond the retention from all feeds. Returns true if there may be
    /// more.
    async fn purge_feeds(&mut self) -> bool {
        let now = self.records.clock.now();
        let products = retention::products(self.records.db.reader()).await;
        let products = self.failures.record(PURGE_FEED, Subject::default(), products, now);
        let mut more = false;
        for product in products.unwrap_or_default() {
            let subject = Subject { product: Some(product.clone()), ..Subject::default() };
            if !self.failures.is_backing_off(PURGE_FEED, &subject, now) {
                let purged = purge_feed(&self.records, &product).await;
                more |= self.failures.record(PURGE_FEED, subject, purged, now).unwrap_or_default();
            }
        }
        more
    }
}

async fn process_one(records: &Records, kind: JobKind, due: &DueRecord) -> Result<(), RecordError> {
    let practice: PracticeId =
        due.practice.parse().map_err(|_| RecordError::Corrupt("a practice"))?;
    let record = RecordRef::parse(&due.record).ok_or(RecordError::Corrupt("an id"))?;
    let system = Caller::system(practice);
    match kind {
        JobKind::Rollover => records.roll_over(system, record.id).await,
        JobKind::PurgeClient | JobKind::PurgePerson => records.purge_due(system, record).await,
    }
}

/// Purges the oldest changes of a feed, in batches so that other writers are not blocked.
/// Returns true if there may be more.
async fn purge_feed(records: &Records, product: &str) -> Result<bool, RecordError> {
    let before = records.clock.now() - records.feed_retention;
    for _ in 0..MAX_PURGE_BATCHES {
        if records.feed.stop().is_cancelled()
            || !retention::has_expired(records.db.reader(), product, before).await?
        {
            return Ok(false);
        }
        let purged = product.to_owned();
        let write = records.db.write(TenantScope::AllPractices, move |tx| {
            let product = purged.clone();
            async move { retention::purge(&*tx, &product, before).await }
        });
        let count = write.await?;
        tracing::info!(product, count, "purged old changes from the feed");
    }
    Ok(true)
}

impl JobError for RecordError {
    fn is_transient(&self) -> bool {
        use concord_db::WriteError as _;
        Self::is_transient(self) || self.is_conflict()
    }
}

#[cfg(test)]
mod tests;
