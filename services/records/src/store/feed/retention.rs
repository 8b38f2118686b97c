//! Retention: purges the oldest positions of the feeds.

use chrono::{DateTime, Utc};
use concord_db::Binds;
use sea_orm::{ConnectionTrait, DbBackend};
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
    let rows = concord_db::query(db, |_| sql.to_owned()).await?;
    Ok(rows.iter().map(|row| row.try_get("", "product")).collect::<Result<_, _>>()?)
}

/// True if the oldest position of `product` was sequenced before `before`. Takes no lock;
/// [`purge`] checks again.
pub(crate) async fn has_expired(
    db: &impl ConnectionTrait,
    product: &str,
    before: DateTime<Utc>,
) -> Result<bool, RecordError> {
    let oldest = concord_db::query_one(db, |sql| {
        format!(
            "SELECT e.pos FROM feed_product f JOIN feed_entry e \
             ON e.product = f.product AND e.pos = f.floor \
             WHERE f.product = {} AND e.sequenced_at < {}",
            sql.bind(product),
            sql.bind(before)
        )
    });
    Ok(oldest.await?.is_some())
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
    if db.get_database_backend() == DbBackend::Postgres {
        let serialise =
            |sql: &mut Binds| format!("SELECT pg_advisory_xact_lock({})", sql.bind(PURGE_LOCK));
        concord_db::query_one(db, serialise).await?;
        let own = |sql: &mut Binds| {
            format!("SELECT 1 FROM feed_product WHERE product = {} FOR UPDATE", sql.bind(product))
        };
        concord_db::query_one(db, own).await?;
    }
    let row = concord_db::query_one(db, |sql| last_sql(sql, product, before)).await?;
    let Some(row) = row else { return Ok(0) };
    let (floor, last): (i64, Option<i64>) = (row.try_get("", "floor")?, row.try_get("", "last")?);
    let Some(last) = last.filter(|last| *last >= floor) else { return Ok(0) };
    let change = concord_db::query_one(db, |sql| {
        format!(
            "SELECT c.id FROM feed_entry e JOIN feed_change c ON c.seq = e.seq \
             WHERE e.product = {} AND e.pos = {}",
            sql.bind(product),
            sql.bind(last)
        )
    });
    let change = change.await?.map(|row| row.try_get::<Uuid>("", "id")).transpose()?;
    concord_db::execute(db, |sql| remove_changes_sql(sql, product, (floor, last))).await?;
    concord_db::execute(db, |sql| {
        format!(
            "DELETE FROM feed_entry WHERE product = {} AND pos >= {} AND pos <= {}",
            sql.bind(product),
            sql.bind(floor),
            sql.bind(last)
        )
    })
    .await?;
    concord_db::execute(db, |sql| {
        format!(
            "UPDATE feed_product SET floor = {}, floor_change = {} WHERE product = {}",
            sql.bind(last + 1),
            sql.bind(change),
            sql.bind(product)
        )
    })
    .await?;
    Ok(last - floor + 1)
}

/// Reads the floor and the last position to remove: the one before the first position that
/// is retained.
fn last_sql(sql: &mut Binds, product: &str, before: DateTime<Utc>) -> String {
    format!(
        "WITH oldest AS ( \
           SELECT e.pos, e.sequenced_at FROM feed_product f JOIN feed_entry e \
           ON e.product = f.product AND e.pos >= f.floor AND e.pos < f.floor + {} \
           WHERE f.product = {}) \
         SELECT f.floor, COALESCE( \
           (SELECT MIN(pos) - 1 FROM oldest WHERE sequenced_at >= {}), \
           (SELECT MAX(pos) FROM oldest)) AS last \
         FROM feed_product f WHERE f.product = {}",
        sql.bind(BATCH),
        sql.bind_shared("product", product),
        sql.bind(before),
        sql.bind_shared("product", product)
    )
}

/// Deletes the changes at the positions from `first` to `last` that are in no other feed.
/// Uses only index lookups by full keys. SQLite has no planner statistics, and would scan
/// the feed for each change of a join of the two tables. Nested conditions leave neither
/// engine a join order to choose.
fn remove_changes_sql(sql: &mut Binds, product: &str, (first, last): (i64, i64)) -> String {
    format!(
        "DELETE FROM feed_change WHERE seq IN ( \
           SELECT g.seq FROM feed_entry g WHERE g.product = {} AND g.pos >= {} AND g.pos <= {} \
           AND NOT EXISTS (SELECT 1 FROM feed_product f WHERE f.product <> {} AND ( \
             EXISTS (SELECT 1 FROM feed_entry e WHERE e.product = f.product AND e.seq = g.seq) \
             OR EXISTS (SELECT 1 FROM feed_pending p WHERE p.product = f.product \
               AND p.practice_id = g.practice_id AND p.seq = g.seq))))",
        sql.bind_shared("product", product),
        sql.bind(first),
        sql.bind(last),
        sql.bind_shared("product", product)
    )
}
