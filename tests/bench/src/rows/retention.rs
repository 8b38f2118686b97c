//! How long the purge of a feed blocks the writer: the duration of each of its batches, in
//! feeds of different sizes. On SQLite every save waits for it.
//!
//! All entries of the feeds have expired when the service starts, and are purged at once. A
//! batch is timed by its statements: from one query for expired entries to the next,
//! including the commit.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::ensure;
use hdrhistogram::Histogram;
use sea_orm::{ConnectionTrait as _, Statement};

use crate::{
    databases::{Databases, Engine},
    load::micros,
    measure::{Plan, new_histogram},
    output,
    report::Time,
    service::Service,
};

/// Maximum of the 99th percentile of a batch, in milliseconds.
const TARGET: f64 = 100.0;

/// Maximum number of timed batches for each feed.
const BATCHES: usize = 200;

/// Timeout for all batches.
const TIMEOUT: Duration = Duration::from_mins(10);

/// Interval between checks for completion.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The start of the query for expired entries, and of the last statement of a batch.
const FIND_EXPIRED_SQL: &str = "SELECT e.pos FROM feed_product f JOIN feed_entry e";
const ADVANCE_FLOOR_SQL: &str = "UPDATE feed_product SET floor";

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Time>> {
    let sizes = if plan.quick { [10_000, 100_000] } else { [100_000, 1_000_000] };
    let mut times = Vec::with_capacity(sizes.len());
    for (n, positions) in sizes.into_iter().enumerate() {
        output::note(format_args!("retention on {engine}: {positions} positions"));
        let batches = purge(databases, engine, &format!("retention_{n}"), positions).await?;
        let beside = format!("feeds of {positions} positions, of two products");
        times.push(Time::of("retention", engine, beside, &batches, Some(TARGET)));
    }
    Ok(times)
}

/// The durations of the batches of the purge.
#[derive(Debug, Default)]
struct Batches {
    last_query: Option<Instant>,
    /// True if entries were removed since the last query.
    removed: bool,
    times: Vec<Duration>,
}

impl Batches {
    fn observe(&mut self, statement: &Statement) {
        if statement.sql.starts_with(ADVANCE_FLOOR_SQL) {
            self.removed = true;
        } else if statement.sql.starts_with(FIND_EXPIRED_SQL) {
            let now = Instant::now();
            let batch = self.last_query.replace(now).map(|last| now - last);
            self.times.extend(batch.filter(|_| self.removed));
            self.removed = false;
        }
    }
}

async fn purge(
    databases: &Databases,
    engine: Engine,
    name: &str,
    positions: i64,
) -> anyhow::Result<Histogram<u64>> {
    let settings = databases.fresh(engine, name).await?;
    Service::start(settings.clone()).await?.stop().await?;
    fill(databases, engine, name, positions).await?;
    databases.analyze(engine).await?;
    databases.checkpoint(engine).await?;

    let batches = Arc::new(Mutex::new(Batches::default()));
    let observer = Arc::clone(&batches);
    let service = Service::start(settings.observed(move |statement| {
        observer.lock().unwrap_or_else(PoisonError::into_inner).observe(statement);
    }));
    let service = service.await?;
    let wanted = usize::try_from(positions)?.saturating_mul(2) / 2_000;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let done = batches.lock().unwrap_or_else(PoisonError::into_inner).times.len();
        if done >= wanted.min(BATCHES) {
            break;
        }
        ensure!(Instant::now() < deadline, "{done} of {wanted} batches in {TIMEOUT:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    service.stop().await?;
    databases.remove(engine, name).await?;
    let mut latency = new_histogram()?;
    for time in &batches.lock().unwrap_or_else(PoisonError::into_inner).times {
        latency.record(micros(*time))?;
    }
    Ok(latency)
}

/// Fills the feeds of the products with the same expired changes.
async fn fill(
    databases: &Databases,
    engine: Engine,
    name: &str,
    positions: i64,
) -> anyhow::Result<()> {
    let (id, then) = match engine {
        Engine::Sqlite => ("randomblob(16)", "'2020-01-01T00:00:00+00:00'"),
        Engine::Postgres => ("gen_random_uuid()", "CAST('2020-01-01T00:00:00Z' AS timestamptz)"),
    };
    let changes = format!(
        "INSERT INTO feed_change (seq, id, practice_id, record_kind, record_id, record_version, \
           kind, changed_fields, companions, origin_product, origin_account, origin_user, \
           transaction_id, transaction_index, transaction_count, changed_at) \
         WITH RECURSIVE numbers(n) AS ( \
           SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {positions}) \
         SELECT n, {id}, 'p' || (n % 7), 'CLIENT', {id}, 1, 'CREATED', '[]', '[]', 'manager', \
           'main', '', {id}, 0, 1, {then} FROM numbers"
    );
    let entries = "INSERT INTO feed_entry (product, pos, seq, practice_id, linked, sequenced_at) \
                   SELECT f.product, c.seq, c.seq, c.practice_id, true, c.changed_at \
                   FROM feed_product f CROSS JOIN feed_change c";
    let heads = format!("UPDATE feed_product SET head = {positions}");
    let db = databases.open(engine, name).await?;
    for sql in [changes.as_str(), entries, heads.as_str()] {
        db.execute_unprepared(sql).await?;
    }
    db.close().await?;
    Ok(())
}
