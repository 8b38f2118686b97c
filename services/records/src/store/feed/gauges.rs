//! Where the feeds of all products stand, for those who watch the service.
//!
//! Looked up every few seconds by every replica: nothing here grows with what is
//! pending, or with the feed.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, Statement, Value};

use crate::error::RecordError;

/// Pending changes of a product that are counted at the most.
const COUNTED: i64 = 10_000;

/// Practices of a product that are looked at for the oldest pending change.
const PRACTICES: i64 = 1_000;

/// The feed of a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) product: String,
    pub(crate) head: i64,
    /// [`COUNTED`] at the most.
    pub(crate) pending: i64,
    /// When the oldest pending change was made.
    pub(crate) oldest: Option<DateTime<Utc>>,
}

/// The feeds of all products.
pub(crate) async fn standings(db: &impl ConnectionTrait) -> Result<Vec<Standing>, RecordError> {
    let sql = standings_sql();
    let rows = db.query_all_raw(statement(db, &sql, [])).await?;
    let standing = |row: &sea_orm::QueryResult| {
        Ok(Standing {
            product: row.try_get("", "product")?,
            head: row.try_get("", "head")?,
            pending: row.try_get("", "pending")?,
            oldest: row.try_get("", "oldest")?,
        })
    };
    rows.iter().map(standing).collect()
}

/// The oldest pending change of a product is the oldest of those that come first in
/// their practices: a walk along the primary key from practice to practice.
pub(crate) fn standings_sql() -> String {
    let next = "SELECT MIN(p.practice_id) FROM feed_pending p WHERE p.product";
    format!(
        "WITH RECURSIVE walk(product, practice_id, n) AS ( \
           SELECT f.product, ({next} = f.product), 1 FROM feed_product f \
           UNION ALL \
           SELECT w.product, ({next} = w.product AND p.practice_id > w.practice_id), w.n + 1 \
           FROM walk w WHERE w.practice_id IS NOT NULL AND w.n < {PRACTICES} \
         ), firsts(product, seq) AS ( \
           SELECT w.product, (SELECT MIN(p.seq) FROM feed_pending p \
             WHERE p.product = w.product AND p.practice_id = w.practice_id) \
           FROM walk w WHERE w.practice_id IS NOT NULL \
         ), oldest(product, seq) AS (SELECT product, MIN(seq) FROM firsts GROUP BY product) \
         SELECT f.product, f.head, c.changed_at AS oldest, \
           (SELECT COUNT(*) FROM (SELECT 1 FROM feed_pending p WHERE p.product = f.product \
             LIMIT {COUNTED}) AS counted) AS pending \
         FROM feed_product f LEFT JOIN oldest o ON o.product = f.product \
         LEFT JOIN feed_change c ON c.seq = o.seq ORDER BY f.product"
    )
}

/// The named subscriptions of a product whose streams are open, or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscribed {
    pub(crate) product: String,
    pub(crate) open: bool,
    pub(crate) count: i64,
    /// What the slowest of them has acknowledged.
    pub(crate) least: i64,
}

/// The named subscriptions of all products: one row of a small table for each.
pub(crate) async fn subscribed(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<Vec<Subscribed>, RecordError> {
    let sql = "SELECT s.product, s.is_open, COUNT(*) AS n, MIN(s.acked_pos) AS least FROM ( \
                 SELECT product, acked_pos, \
                   CASE WHEN active_until > $1 THEN 1 ELSE 0 END AS is_open \
                 FROM feed_subscription) AS s \
               GROUP BY s.product, s.is_open";
    let rows = db.query_all_raw(statement(db, sql, [now.into()])).await?;
    let subscribed = |row: &sea_orm::QueryResult| {
        Ok(Subscribed {
            product: row.try_get("", "product")?,
            open: row.try_get::<i32>("", "is_open")? == 1,
            count: row.try_get("", "n")?,
            least: row.try_get("", "least")?,
        })
    };
    rows.iter().map(subscribed).collect()
}

fn statement(
    db: &impl ConnectionTrait,
    sql: &str,
    values: impl IntoIterator<Item = Value>,
) -> Statement {
    Statement::from_sql_and_values(db.get_database_backend(), sql, values)
}
