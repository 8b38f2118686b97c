//! What happens by itself: scheduled entries begin, orphaned records are
//! removed, old answers and fences are forgotten, and old changes leave the feeds.
//!
//! Every replica goes round. What is due is looked for without a lock and looked
//! at again under the record's lock, so that it happens once.

use std::time::Duration;

use shared::{
    caller::{Caller, PracticeId},
    db::Scope,
};
use uuid::Uuid;

use crate::{
    domain::record::RecordRef,
    error::RecordError,
    service::Records,
    store::{clients, entries, feed::retention, fences, persons, requests},
};

/// How often a replica goes round.
const ROUND: Duration = Duration::from_secs(20);

/// Records that one round deals with, of each kind of work; the next follows at
/// once when there were as many.
const BATCH: u64 = 200;

/// How long the answers of requests are kept.
const KEEP_ANSWERS: chrono::TimeDelta = chrono::TimeDelta::days(7);

/// How long the fence of an import is kept after its last call: an import can be
/// tried again for 30 days after its end, and no call is as late as this.
const KEEP_FENCES: chrono::TimeDelta = chrono::TimeDelta::days(60);

/// Goes round until the service stops.
pub(crate) async fn run(records: Records) {
    loop {
        let worked = match step(&records).await {
            Ok(worked) => worked,
            Err(error) => {
                tracing::warn!(%error, "a job of the records could not be done; trying again");
                false
            }
        };
        let pause = if worked { Duration::ZERO } else { ROUND };
        tokio::select! {
            () = records.feed.stop().cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One round; whether there may be more to do at once.
pub(crate) async fn step(records: &Records) -> Result<bool, RecordError> {
    let (db, now) = (records.db.reader(), records.clock.now());
    let due = entries::due_to_turn(db, records.clock.today(), BATCH).await?;
    let mut worked = due.len();
    for (practice, owner) in distinct(due) {
        records.turn(system(&practice)?, owner).await?;
    }
    let due = clients::due_for_purge(db, now, BATCH).await?;
    worked = worked.max(due.len());
    for (practice, id) in due {
        records.purge_due(system(&practice)?, RecordRef::client(id)).await?;
    }
    let due = persons::due_for_purge(db, now, BATCH).await?;
    worked = worked.max(due.len());
    for (practice, id) in due {
        records.purge_due(system(&practice)?, RecordRef::person(id)).await?;
    }
    let old = now - KEEP_ANSWERS;
    let forget = records.db.write(Scope::AllPractices, move |tx| async move {
        requests::forget_before(&*tx, old).await
    });
    forget.await?;
    let old = now - KEEP_FENCES;
    let forget = records.db.write(Scope::AllPractices, move |tx| async move {
        fences::forget_before(&*tx, old).await
    });
    forget.await?;
    purge_feeds(records).await?;
    Ok(u64::try_from(worked).unwrap_or(u64::MAX) >= BATCH)
}

/// Removes from the feeds what is older than they keep, a batch at a time so that
/// the sequencer is not held up.
async fn purge_feeds(records: &Records) -> Result<(), RecordError> {
    let before = records.clock.now() - records.feed_retention;
    let db = records.db.reader();
    for product in retention::products(db).await? {
        while !records.feed.stop().is_cancelled()
            && retention::has_old(db, &product, before).await?
        {
            let purged = product.clone();
            let write = records.db.write(Scope::AllPractices, move |tx| {
                let product = purged.clone();
                async move { retention::purge(&*tx, &product, before).await }
            });
            let count = write.await?;
            tracing::info!(product, count, "old changes left the feed");
        }
    }
    Ok(())
}

fn distinct(mut due: Vec<(String, Uuid)>) -> Vec<(String, Uuid)> {
    due.sort();
    due.dedup();
    due
}

fn system(practice: &str) -> Result<Caller, RecordError> {
    let practice: PracticeId = practice.parse().map_err(|_| RecordError::Corrupt("a practice"))?;
    Ok(Caller::system(practice))
}

#[cfg(test)]
mod tests;
