//! The lag of a subscription: the number and age of its unacknowledged changes.

use chrono::{DateTime, Utc};
use concord_core::caller::{PracticeId, Product};
use concord_db::Binds;
use sea_orm::ConnectionTrait;

use crate::error::RecordError;

/// Maximum number of changes of some practices that are counted.
const MAX_COUNTED: i64 = 10_000;

/// The unacknowledged changes of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lag {
    pub(crate) changes: i64,
    /// True if there are more changes than were counted.
    pub(crate) truncated: bool,
    /// When the oldest of them was sequenced.
    pub(crate) oldest: Option<DateTime<Utc>>,
    pub(crate) head: i64,
    pub(crate) floor: i64,
}

/// Counts the changes after a position in a product's feed: of `practices`, or of all
/// practices if it is empty. The count of all practices includes purged changes.
pub(crate) async fn lag(
    db: &impl ConnectionTrait,
    product: &Product,
    after: i64,
    practices: &[PracticeId],
) -> Result<Lag, RecordError> {
    let row = concord_db::query_one(db, |sql| lag_sql(sql, product, after, practices)).await?;
    let row = row.ok_or(RecordError::Corrupt("a subscription without its feed"))?;
    let (head, floor): (i64, i64) = (row.try_get("", "head")?, row.try_get("", "floor")?);
    let oldest = row.try_get("", "oldest")?;
    Ok(if practices.is_empty() {
        Lag { changes: head - after, truncated: false, oldest, head, floor }
    } else {
        let found: i64 = row.try_get("", "changes")?;
        Lag { changes: found.min(MAX_COUNTED), truncated: found > MAX_COUNTED, oldest, head, floor }
    })
}

fn lag_sql(sql: &mut Binds, product: &Product, after: i64, practices: &[PracticeId]) -> String {
    let counted = if practices.is_empty() {
        // The difference of the positions is the count.
        "0".to_owned()
    } else {
        let entries = super::entries_after(sql, "e.pos", product, after, practices);
        let entries = entries.join(" UNION ALL ");
        format!("(SELECT COUNT(*) FROM ({entries} LIMIT {MAX_COUNTED} + 1) counted)")
    };
    let oldest = super::entries_after(sql, "e.pos, e.sequenced_at", product, after, practices);
    let oldest = super::first_of(sql, oldest, |_| "1".to_owned());
    format!(
        "SELECT f.head, f.floor, {counted} AS changes, \
           (SELECT o.sequenced_at FROM ({oldest}) o) AS oldest \
         FROM feed_product f WHERE f.product = {}",
        sql.bind_shared("product", product.as_str())
    )
}
