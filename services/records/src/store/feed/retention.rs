//! Retention: purges the oldest positions of the feeds.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, Statement};
use uuid::Uuid;

use crate::error::RecordError;

/// The advisory lock that serialises purges on PostgreSQL. Any number that no other lock
/// uses.
const PURGE_LOCK: i64 = 0x636f_6e63_6f72_6401;

/// Maximum number of positions that one transaction removes.
pub(crate) const BATCH: i64 = 2_000;

/// The products that have a feed.
pub(crate) async fn products(db: &impl ConnectionTrait) -> Result<Vec<String>, RecordError> {
    let sql = "SELECT product FROM feed_product ORDER BY product";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    Ok(rows.iter().map(|row| row.try_get("", "product")).collect::<Result<_, _>>()?)
}

/// True if the oldest position of `product` was sequenced before `before`. Takes no lock;
/// [`purge`] checks again.
pub(crate) async fn has_expired(
    db: &impl ConnectionTrait,
    product: &str,
    before: DateTime<Utc>,
) -> Result<bool, RecordError> {
    let sql = "SELECT e.pos FROM feed_product f JOIN feed_entry e \
               ON e.product = f.product AND e.pos = f.floor \
               WHERE f.product = $1 AND e.sequenced_at < $2";
    let values = [product.into(), before.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.query_one_raw(statement).await?.is_some())
}

/// Removes the oldest positions of `product` that were sequenced before `before`, and the
/// changes that are in no other feed. Returns the number of positions.
///
/// The floor is raised in the same transaction, so readers see both or neither. Abandoned
/// subscriptions do not delay the purge. Purges of several replicas are serialised:
/// otherwise two of them could each leave a shared change to the other.
pub(crate) async fn purge(
    db: &impl ConnectionTrait,
    product: &str,
    before: DateTime<Utc>,
) -> Result<i64, RecordError> {
    let engine = db.get_database_backend();
    let run = |sql: &'static str, values: Vec<sea_orm::Value>| {
        Statement::from_sql_and_values(engine, sql, values)
    };
    if engine == sea_orm::DbBackend::Postgres {
        let serialise = "SELECT pg_advisory_xact_lock($1)";
        db.query_one_raw(run(serialise, vec![PURGE_LOCK.into()])).await?;
        let own = "SELECT 1 FROM feed_product WHERE product = $1 FOR UPDATE";
        db.query_one_raw(run(own, vec![product.into()])).await?;
    }
    let values = vec![product.into(), before.into(), BATCH.into()];
    let Some(row) = db.query_one_raw(run(LAST, values)).await? else { return Ok(0) };
    let (floor, last): (i64, Option<i64>) = (row.try_get("", "floor")?, row.try_get("", "last")?);
    let Some(last) = last.filter(|last| *last >= floor) else { return Ok(0) };
    let range = || vec![product.into(), floor.into(), last.into()];
    let change = run(CHANGE, vec![product.into(), last.into()]);
    let change = db.query_one_raw(change).await?.map(|row| row.try_get::<Uuid>("", "id"));
    db.execute_raw(run(REMOVE_CHANGES, range())).await?;
    db.execute_raw(run(REMOVE_ENTRIES, range())).await?;
    let values = vec![product.into(), (last + 1).into(), change.transpose()?.into()];
    db.execute_raw(run(RAISE, values)).await?;
    Ok(last - floor + 1)
}

/// The last position to remove: the one before the first position that is retained.
const LAST: &str = "WITH oldest AS ( \
      SELECT e.pos, e.sequenced_at FROM feed_product f JOIN feed_entry e \
      ON e.product = f.product AND e.pos >= f.floor AND e.pos < f.floor + $3 \
      WHERE f.product = $1) \
    SELECT f.floor, COALESCE( \
      (SELECT MIN(pos) - 1 FROM oldest WHERE sequenced_at >= $2), \
      (SELECT MAX(pos) FROM oldest)) AS last \
    FROM feed_product f WHERE f.product = $1";

const CHANGE: &str = "SELECT c.id FROM feed_entry e JOIN feed_change c ON c.seq = e.seq \
    WHERE e.product = $1 AND e.pos = $2";

/// Uses only index lookups by full keys. SQLite has no planner statistics, and would scan
/// the feed for each change of a join of the two tables. Nested conditions leave neither
/// engine a join order to choose.
const REMOVE_CHANGES: &str = "DELETE FROM feed_change WHERE seq IN ( \
      SELECT g.seq FROM feed_entry g WHERE g.product = $1 AND g.pos >= $2 AND g.pos <= $3 \
      AND NOT EXISTS (SELECT 1 FROM feed_product f WHERE f.product <> $1 AND ( \
        EXISTS (SELECT 1 FROM feed_entry e WHERE e.product = f.product AND e.seq = g.seq) \
        OR EXISTS (SELECT 1 FROM feed_pending p WHERE p.product = f.product \
          AND p.practice_id = g.practice_id AND p.seq = g.seq))))";

const REMOVE_ENTRIES: &str =
    "DELETE FROM feed_entry WHERE product = $1 AND pos >= $2 AND pos <= $3";

const RAISE: &str = "UPDATE feed_product SET floor = $2, floor_change = $3 WHERE product = $1";
