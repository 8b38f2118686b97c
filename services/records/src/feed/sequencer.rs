//! The sequencer: assigns positions to committed changes.
//!
//! Every replica runs one; the first one to poll takes the lock of the product. Positions
//! are assigned after the commit, so that concurrent writers, rollbacks and long
//! transactions can neither lose nor reorder a change.

use std::time::{Duration, Instant};

use concord_core::ids;
use concord_db::TenantScope;
use concord_server::{
    jobs::{Failures, JobError, Subject},
    meter::{Meter, NONE, catalog},
};
use sea_orm::{
    DbBackend, DbErr, RuntimeErr,
    sqlx::{self, postgres::PgListener},
};

use super::Feed;
use crate::{error::RecordError, store::feed::sequence};

/// Maximum interval between polls, in case a wake-up was lost with its replica. With
/// jitter of up to a fifth, so that replicas do not poll at once.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Backoff after an error of the database.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// Minimum interval between polls. Gives writers access to the database, and batches the
/// changes that are committed meanwhile. A single change does not wait.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The job name of the sequencer, in the log and in the metrics.
const SEQUENCE_FEED: &str = "sequence_feed";

/// Runs the sequencer until the feed stops.
pub(crate) async fn run(feed: Feed, meter: Meter) {
    let mut failures = Failures::new(&meter, &[SEQUENCE_FEED]);
    loop {
        if let Err(error) = sequence_all(&feed, &meter, &mut failures).await {
            tracing::warn!(%error, "sequencing the feed failed; retrying");
            tokio::select! {
                () = feed.stop().cancelled() => return,
                () = tokio::time::sleep(RETRY_DELAY) => continue,
            }
        }
        let next = async {
            tokio::time::sleep(MIN_POLL_INTERVAL).await;
            // A commit since the poll has stored its wake-up already.
            feed.inner.pending.notified().await;
        };
        tokio::select! {
            () = feed.stop().cancelled() => return,
            () = next => {}
            () = tokio::time::sleep(poll_interval_with_jitter()) => {}
        }
    }
}

fn poll_interval_with_jitter() -> Duration {
    MAX_POLL_INTERVAL + MAX_POLL_INTERVAL * u32::from(ids::random_byte()) / 5 / 256
}

/// Assigns positions until no product has pending changes. A product whose feed cannot be
/// read or written does not block the others.
async fn sequence_all(
    feed: &Feed,
    meter: &Meter,
    failures: &mut Failures,
) -> Result<(), RecordError> {
    loop {
        let now = feed.inner.clock.now();
        let mut products = sequence::products_with_pending(feed.db().reader()).await?;
        products.retain(|product| !failures.is_backing_off(SEQUENCE_FEED, &subject(product), now));
        if products.is_empty() {
            return Ok(());
        }
        match sequence(feed, meter, products.clone()).await {
            Err(error) if !JobError::is_transient(&error) => {
                for product in products {
                    let alone = sequence(feed, meter, vec![product.clone()]).await;
                    if alone.as_ref().is_err_and(JobError::is_transient) {
                        return alone;
                    }
                    failures.record(SEQUENCE_FEED, subject(&product), alone, now);
                }
            }
            outcome => outcome?,
        }
    }
}

fn subject(product: &str) -> Subject {
    Subject { product: Some(product.to_owned()), ..Subject::default() }
}

/// Assigns positions to one batch of each product, in one transaction. The products are
/// locked in the order of their names, so that the sequencers of two replicas cannot
/// deadlock.
async fn sequence(feed: &Feed, meter: &Meter, products: Vec<String>) -> Result<(), RecordError> {
    let started = Instant::now();
    let clock = feed.inner.clock.clone();
    let write = feed.db().write(TenantScope::AllPractices, move |tx| {
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

/// Receives the notifications of the sequencers of other replicas (PostgreSQL `LISTEN`)
/// until the feed stops. SQLite has a single replica.
pub(crate) async fn listen(feed: Feed) {
    if feed.db().engine() != DbBackend::Postgres {
        return;
    }
    while !feed.stop().is_cancelled() {
        if let Err(error) = listen_once(&feed).await {
            tracing::warn!(%error, "listening to other replicas failed; falling back to polling");
        }
        tokio::select! {
            () = feed.stop().cancelled() => return,
            () = tokio::time::sleep(RETRY_DELAY) => {}
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
            // The database moved to another server: listen there.
            _ = renewals.changed() => return Ok(()),
            notification = listener.recv() => notification.map_err(failed)?,
        };
        feed.inner.sequenced.send_replace(());
    }
}

#[cfg(test)]
mod tests;
