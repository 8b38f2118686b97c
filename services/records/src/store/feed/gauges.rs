//! The statistics of the feeds, for the gauges of the metrics.
//!
//! Every replica reads them every few seconds, so the cost of the queries does not grow
//! with the number of pending changes or the length of a feed.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use crate::error::RecordError;

/// Maximum number of pending changes of a product that are counted.
const MAX_COUNTED: i64 = 10_000;

/// Maximum number of practices of a product that are searched for the oldest pending
/// change.
const MAX_PRACTICES: i64 = 1_000;

/// The statistics of a product's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedStats {
    pub(crate) product: String,
    pub(crate) head: i64,
    /// The number of pending changes, at most [`MAX_COUNTED`].
    pub(crate) pending: i64,
    /// The time of the oldest pending change.
    pub(crate) oldest: Option<DateTime<Utc>>,
}

/// Reads the statistics of all feeds.
pub(crate) async fn feed_stats(db: &impl ConnectionTrait) -> Result<Vec<FeedStats>, RecordError> {
    let rows = concord_db::query(db, |_| feed_stats_sql()).await?;
    let read_row = |row: &sea_orm::QueryResult| {
        Ok(FeedStats {
            product: row.try_get("", "product")?,
            head: row.try_get("", "head")?,
            pending: row.try_get("", "pending")?,
            oldest: row.try_get("", "oldest")?,
        })
    };
    rows.iter().map(read_row).collect()
}

/// Finds the oldest pending change of a product as the oldest of the first ones of its
/// practices: a loose index scan along the primary key.
pub(crate) fn feed_stats_sql() -> String {
    let next = "SELECT MIN(p.practice_id) FROM feed_pending p WHERE p.product";
    format!(
        "WITH RECURSIVE walk(product, practice_id, n) AS ( \
           SELECT f.product, ({next} = f.product), 1 FROM feed_product f \
           UNION ALL \
           SELECT w.product, ({next} = w.product AND p.practice_id > w.practice_id), w.n + 1 \
           FROM walk w WHERE w.practice_id IS NOT NULL AND w.n < {MAX_PRACTICES} \
         ), firsts(product, seq) AS ( \
           SELECT w.product, (SELECT MIN(p.seq) FROM feed_pending p \
             WHERE p.product = w.product AND p.practice_id = w.practice_id) \
           FROM walk w WHERE w.practice_id IS NOT NULL \
         ), oldest(product, seq) AS (SELECT product, MIN(seq) FROM firsts GROUP BY product) \
         SELECT f.product, f.head, c.changed_at AS oldest, \
           (SELECT COUNT(*) FROM (SELECT 1 FROM feed_pending p WHERE p.product = f.product \
             LIMIT {MAX_COUNTED}) AS counted) AS pending \
         FROM feed_product f LEFT JOIN oldest o ON o.product = f.product \
         LEFT JOIN feed_change c ON c.seq = o.seq ORDER BY f.product"
    )
}

/// The statistics of a product's named subscriptions whose streams are open, or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionStats {
    pub(crate) product: String,
    pub(crate) open: bool,
    pub(crate) count: i64,
    /// The lowest acknowledged position.
    pub(crate) least: i64,
}

/// Reads the statistics of all named subscriptions. Scans their table, which is small.
pub(crate) async fn subscription_stats(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<Vec<SubscriptionStats>, RecordError> {
    let rows = concord_db::query(db, |sql| {
        format!(
            "SELECT s.product, s.is_open, COUNT(*) AS n, MIN(s.acked_pos) AS least FROM ( \
               SELECT product, acked_pos, \
                 CASE WHEN active_until > {} THEN 1 ELSE 0 END AS is_open \
               FROM feed_subscription) AS s \
             GROUP BY s.product, s.is_open",
            sql.bind(now)
        )
    });
    let read_row = |row: &sea_orm::QueryResult| {
        Ok(SubscriptionStats {
            product: row.try_get("", "product")?,
            open: row.try_get::<i32>("", "is_open")? == 1,
            count: row.try_get("", "n")?,
            least: row.try_get("", "least")?,
        })
    };
    rows.await?.iter().map(read_row).collect()
}
