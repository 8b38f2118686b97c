//! Gives positions to committed changes.
//!
//! One task in every replica; whichever looks first takes the product's lock.
//! Positions are given after the commit, so that nothing that happens before it
//! (other writers, rollbacks, long transactions) can lose or reorder a change.

use std::time::{Duration, Instant};

use sea_orm::{
    DbBackend, DbErr, RuntimeErr,
    sqlx::{self, postgres::PgListener},
};
use shared::{
    db::Scope,
    ids,
    jobs::{Failures, JobError, Subject},
    meter::{Meter, NONE, catalog},
};

use super::Feed;
use crate::{error::RecordError, store::feed::sequence};

/// How long the sequencer sleeps at the most: the backstop when a wake-up was
/// lost with its replica. Longer by up to a fifth, so that replicas spread.
const POLL: Duration = Duration::from_secs(1);

/// How long it waits after an error of the database.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);

/// How long it leaves the database to the writers before it looks again. What is
/// committed meanwhile is sequenced together; a change that comes alone does not wait.
const GATHER: Duration = Duration::from_millis(10);

/// The work of a sequencer, in the log and in the metrics.
const SEQUENCE_FEED: &str = "sequence_feed";

/// Sequences until the feed stops.
pub(crate) async fn run(feed: Feed, meter: Meter) {
    let mut failures = Failures::new(&meter, &[SEQUENCE_FEED]);
    loop {
        if let Err(error) = sequence_all(&feed, &meter, &mut failures).await {
            tracing::warn!(%error, "the feed could not be sequenced; trying again");
            tokio::select! {
                () = feed.stop().cancelled() => return,
                () = tokio::time::sleep(PAUSE_AFTER_ERROR) => continue,
            }
        }
        let next = async {
            tokio::time::sleep(GATHER).await;
            // Of what was committed since the look, it has been told already.
            feed.inner.pending.notified().await;
        };
        tokio::select! {
            () = feed.stop().cancelled() => return,
            () = next => {}
            () = tokio::time::sleep(poll_time()) => {}
        }
    }
}

fn poll_time() -> Duration {
    let spread = ids::new_uuid().as_bytes().last().copied().unwrap_or_default();
    POLL + POLL * u32::from(spread) / 5 / 256
}

/// Gives positions until nothing is pending for any product. A product whose feed
/// cannot be read or written does not block the others.
async fn sequence_all(
    feed: &Feed,
    meter: &Meter,
    failures: &mut Failures,
) -> Result<(), RecordError> {
    loop {
        let now = feed.inner.clock.now();
        let mut products = sequence::products_with_pending(feed.db().reader()).await?;
        products.retain(|product| !failures.waits(SEQUENCE_FEED, &subject(product), now));
        if products.is_empty() {
            return Ok(());
        }
        match sequence(feed, meter, products.clone()).await {
            Err(error) if !JobError::is_passing(&error) => {
                for product in products {
                    let alone = sequence(feed, meter, vec![product.clone()]).await;
                    if alone.as_ref().is_err_and(JobError::is_passing) {
                        return alone;
                    }
                    failures.note(SEQUENCE_FEED, subject(&product), alone, now);
                }
            }
            outcome => outcome?,
        }
    }
}

fn subject(product: &str) -> Subject {
    Subject { product: Some(product.to_owned()), ..Subject::default() }
}

/// Gives positions to one batch of each product, in one transaction: one commit for
/// all. The products are in the order of their names, so that the sequencers of two
/// replicas never wait for each other.
async fn sequence(feed: &Feed, meter: &Meter, products: Vec<String>) -> Result<(), RecordError> {
    let started = Instant::now();
    let clock = feed.inner.clock.clone();
    let write = feed.db().write(Scope::AllPractices, move |tx| {
        let (products, now) = (products.clone(), clock.now());
        async move {
            let mut counts = Vec::with_capacity(products.len());
            for product in products {
                let count = sequence::sequence(&*tx, &product, now).await?;
                counts.push((product, count));
            }
            Ok::<_, RecordError>(counts)
        }
    });
    let mut counts = write.await?;
    counts.retain(|(_, count)| *count > 0);
    if counts.is_empty() {
        return Ok(());
    }
    meter.histogram(&catalog::SEQUENCE_SECONDS, NONE).record(started.elapsed());
    for (product, count) in counts {
        let label = meter.product(&product);
        meter.counter(&catalog::SEQUENCED_BATCHES, [label.clone()]).increment(1);
        meter.counter(&catalog::SEQUENCED_CHANGES, [label]).increment(count.unsigned_abs());
    }
    feed.inner.sequenced.send_replace(());
    Ok(())
}

/// Listens to the sequencers of other replicas until the feed stops. On SQLite
/// there are none.
pub(crate) async fn listen(feed: Feed) {
    if feed.db().engine() != DbBackend::Postgres {
        return;
    }
    while !feed.stop().is_cancelled() {
        if let Err(error) = listen_once(&feed).await {
            tracing::warn!(%error, "not listening to other replicas; polling goes on");
        }
        tokio::select! {
            () = feed.stop().cancelled() => return,
            () = tokio::time::sleep(PAUSE_AFTER_ERROR) => {}
        }
    }
}

async fn listen_once(feed: &Feed) -> Result<(), RecordError> {
    let mut renewals = feed.db().renewals();
    let pool = feed.db().reader().get_postgres_connection_pool();
    let failed = |error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
    let mut listener = PgListener::connect_with(pool).await.map_err(failed)?;
    listener.listen(sequence::CHANNEL).await.map_err(failed)?;
    loop {
        tokio::select! {
            () = feed.stop().cancelled() => return Ok(()),
            // Those who notify have another server now.
            _ = renewals.changed() => return Ok(()),
            heard = listener.recv() => heard.map_err(failed)?,
        };
        feed.inner.sequenced.send_replace(());
    }
}

#[cfg(test)]
mod tests;
