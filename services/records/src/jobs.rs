//! What happens by itself: scheduled entries begin, orphaned records are
//! removed, old answers and fences are forgotten, and old changes leave the feeds.
//!
//! Every replica goes round. What is due is looked for without a lock and looked
//! at again under the record's lock, so that it happens once. A failure for one record,
//! or for one kind of work, does not affect the others.

use std::time::Duration;

use shared::{
    caller::{Caller, PracticeId},
    db::Scope,
    jobs::{Failures, JobError, Subject},
    meter::Meter,
};

use crate::{
    domain::record::RecordRef,
    error::RecordError,
    service::Records,
    store::{
        due::{self, Due, Work},
        erasures,
        feed::retention,
        fences, requests,
    },
};

/// How often a replica goes round.
const ROUND: Duration = Duration::from_secs(20);

/// Records that one round deals with, of each kind of work; the next follows at
/// once when there were as many.
const BATCH: u64 = 200;

/// Answers, or fences, that one round forgets, in one transaction; the next follows
/// at once when there were as many.
const FORGOTTEN: u64 = 2_000;

/// Transactions by which one round purges the feed of a product; the next follows at
/// once when that was not enough.
const PURGES: u32 = 10;

/// How long the answers of requests are kept.
const KEEP_ANSWERS: chrono::TimeDelta = chrono::TimeDelta::days(7);

/// How long the fence of an import is kept after its last call: an import can be
/// tried again for 30 days after its end, and no call is as late as this.
const KEEP_FENCES: chrono::TimeDelta = chrono::TimeDelta::days(60);

/// How long erasures are listed for the imports service: what was uploaded is kept for
/// 30 days after the end of an import, and is older than an erasure that concerns it.
const KEEP_ERASURES: chrono::TimeDelta = chrono::TimeDelta::days(90);

/// How soon it is tried again to finish an erasure, when a reader was in the way.
const RETRY_ERASURE: Duration = Duration::from_secs(1);

const FORGET_ANSWERS: &str = "forget_answers";
const FORGET_FENCES: &str = "forget_fences";
const FORGET_ERASURES: &str = "forget_erasures";
const FINISH_ERASURE: &str = "finish_erasure";
const PURGE_FEED: &str = "purge_feed";
const FURTHER_JOBS: [&str; 5] =
    [FORGET_ANSWERS, FORGET_FENCES, FORGET_ERASURES, PURGE_FEED, FINISH_ERASURE];

/// The name of a kind of work, in the log and in the metrics.
const fn name(work: Work) -> &'static str {
    match work {
        Work::Turn => "turn_entries",
        Work::PurgeClient => "purge_clients",
        Work::PurgePerson => "purge_persons",
    }
}

/// Goes round until the service stops.
pub(crate) async fn run(records: Records, meter: Meter) {
    let stop = records.feed.stop().clone();
    let mut jobs = Jobs::new(records, &meter);
    loop {
        let pause = match (jobs.step().await, jobs.finish_erasure().await) {
            (true, _) => Duration::ZERO,
            (false, true) => ROUND,
            (false, false) => RETRY_ERASURE,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = jobs.records.db.erasure() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The work of a replica, and what of it has failed.
#[derive(Debug)]
pub(crate) struct Jobs {
    records: Records,
    failures: Failures,
}

impl Jobs {
    pub(crate) fn new(records: Records, meter: &Meter) -> Self {
        let works = [Work::Turn, Work::PurgeClient, Work::PurgePerson].map(name);
        let jobs = [&works[..], &FURTHER_JOBS].concat();
        Self { records, failures: Failures::new(meter, &jobs) }
    }

    /// One round; whether there may be more to do at once.
    pub(crate) async fn step(&mut self) -> bool {
        let mut more = false;
        for work in [Work::Turn, Work::PurgeClient, Work::PurgePerson] {
            more |= self.deal_with(work).await;
        }
        more |= self.forget(FORGET_ANSWERS).await;
        more |= self.forget(FORGET_FENCES).await;
        more |= self.forget(FORGET_ERASURES).await;
        more | self.purge_feeds().await
    }

    /// Deals with the records whose time has come, each for itself; whether there may
    /// be more of them.
    async fn deal_with(&mut self, work: Work) -> bool {
        let (job, now) = (name(work), self.records.clock.now());
        let until = match work {
            Work::Turn => self.records.clock.today().into(),
            Work::PurgeClient | Work::PurgePerson => now.into(),
        };
        let waiting = self.failures.waiting(job, now);
        let found = due::due(self.records.db.reader(), work, until, &waiting, BATCH).await;
        let Some(mut found) = self.failures.note(job, Subject::default(), found, now) else {
            return false;
        };
        let more = u64::try_from(found.len()).unwrap_or(u64::MAX) >= BATCH;
        found.sort();
        found.dedup();
        for due in found {
            let done = deal_with_one(&self.records, work, &due).await;
            let unreachable = done.as_ref().is_err_and(RecordError::is_passing);
            let (practice, record) = (Some(due.practice), Some(due.record));
            let subject = Subject { practice, record, product: None };
            self.failures.note(job, subject, done, now);
            if unreachable {
                // The others would wait for the database as long as this one did.
                return false;
            }
        }
        more
    }

    /// Removes the oldest of what is kept for a time; whether there may be more.
    async fn forget(&mut self, job: &'static str) -> bool {
        let now = self.records.clock.now();
        if self.failures.waits(job, &Subject::default(), now) {
            return false;
        }
        let forget = self.records.db.write(Scope::AllPractices, move |tx| async move {
            match job {
                FORGET_ANSWERS => {
                    requests::forget_before(&*tx, now - KEEP_ANSWERS, FORGOTTEN).await
                }
                FORGET_FENCES => fences::forget_before(&*tx, now - KEEP_FENCES, FORGOTTEN).await,
                _ => erasures::forget_before(&*tx, now - KEEP_ERASURES, FORGOTTEN).await,
            }
        });
        let forgotten = self.failures.note(job, Subject::default(), forget.await, now);
        forgotten.is_some_and(|count| count >= FORGOTTEN)
    }

    /// Removes from the files of the database what was erased; whether nothing is left.
    async fn finish_erasure(&mut self) -> bool {
        let now = self.records.clock.now();
        let finished = self.records.db.finish_erasure().await.map_err(RecordError::from);
        let finished = self.failures.note(FINISH_ERASURE, Subject::default(), finished, now);
        // A failure waits for the next round.
        finished.unwrap_or(true)
    }

    /// Removes from the feeds what is older than they keep; whether there may be more.
    async fn purge_feeds(&mut self) -> bool {
        let now = self.records.clock.now();
        let products = retention::products(self.records.db.reader()).await;
        let products = self.failures.note(PURGE_FEED, Subject::default(), products, now);
        let mut more = false;
        for product in products.unwrap_or_default() {
            let subject = Subject { product: Some(product.clone()), ..Subject::default() };
            if !self.failures.waits(PURGE_FEED, &subject, now) {
                let purged = purge_feed(&self.records, &product).await;
                more |= self.failures.note(PURGE_FEED, subject, purged, now).unwrap_or_default();
            }
        }
        more
    }
}

async fn deal_with_one(records: &Records, work: Work, due: &Due) -> Result<(), RecordError> {
    let practice: PracticeId =
        due.practice.parse().map_err(|_| RecordError::Corrupt("a practice"))?;
    let record = RecordRef::parse(&due.record).ok_or(RecordError::Corrupt("an id"))?;
    let system = Caller::system(practice);
    match work {
        Work::Turn => records.turn(system, record.id).await,
        Work::PurgeClient | Work::PurgePerson => records.purge_due(system, record).await,
    }
}

/// Removes the oldest changes from a feed, a batch at a time so that other writers
/// have their turns; whether there may be more.
async fn purge_feed(records: &Records, product: &str) -> Result<bool, RecordError> {
    let before = records.clock.now() - records.feed_retention;
    for _ in 0..PURGES {
        if records.feed.stop().is_cancelled()
            || !retention::has_old(records.db.reader(), product, before).await?
        {
            return Ok(false);
        }
        let purged = product.to_owned();
        let write = records.db.write(Scope::AllPractices, move |tx| {
            let product = purged.clone();
            async move { retention::purge(&*tx, &product, before).await }
        });
        let count = write.await?;
        tracing::info!(product, count, "old changes left the feed");
    }
    Ok(true)
}

impl JobError for RecordError {
    fn is_passing(&self) -> bool {
        use shared::db::WriteError as _;
        Self::is_passing(self) || self.is_conflict()
    }
}

#[cfg(test)]
mod tests;
