//! The lag of a subscription: the number and age of its unacknowledged changes.

use chrono::{DateTime, Utc};
use concord_core::caller::{PracticeId, Product};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

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
    let mut values = vec![product.as_str().into(), after.into()];
    values.extend(practices.iter().map(|practice| practice.as_str().into()));
    let engine = db.get_database_backend();
    let sql = lag_sql(engine, practices.len());
    let statement = Statement::from_sql_and_values(engine, sql, values);
    let row = db.query_one_raw(statement).await?;
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

fn lag_sql(engine: DbBackend, practices: usize) -> String {
    let oldest = super::entries_after("e.pos, e.sequenced_at", practices, 3);
    let oldest = super::first_of(engine, oldest, "1");
    let counted = if practices == 0 {
        // The difference of the positions is the count.
        "0".to_owned()
    } else {
        let entries = super::entries_after("e.pos", practices, 3).join(" UNION ALL ");
        format!("(SELECT COUNT(*) FROM ({entries} LIMIT {MAX_COUNTED} + 1) counted)")
    };
    format!(
        "SELECT f.head, f.floor, {counted} AS changes, \
           (SELECT o.sequenced_at FROM ({oldest}) o) AS oldest \
         FROM feed_product f WHERE f.product = $1"
    )
}
