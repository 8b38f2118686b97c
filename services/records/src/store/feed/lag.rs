//! How far behind a subscription is.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use shared::caller::{PracticeId, Product};

use crate::error::RecordError;

/// Changes of some practices that are counted at the most.
const COUNTED: i64 = 10_000;

/// Changes of a feed that are not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lag {
    pub(crate) changes: i64,
    /// Whether there may be more.
    pub(crate) cut: bool,
    /// When the oldest of them was given its position.
    pub(crate) oldest: Option<DateTime<Utc>>,
    pub(crate) head: i64,
    pub(crate) floor: i64,
}

/// How many changes are after `after` in the feed of `product`: of `practices`, or of
/// all when it is empty. Changes that are no longer kept are counted too, when all
/// practices are.
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
        Lag { changes: head - after, cut: false, oldest, head, floor }
    } else {
        let found: i64 = row.try_get("", "changes")?;
        Lag { changes: found.min(COUNTED), cut: found > COUNTED, oldest, head, floor }
    })
}

fn lag_sql(engine: DbBackend, practices: usize) -> String {
    let oldest = super::entries_after("e.pos, e.sequenced_at", practices, 3);
    let oldest = super::first_of(engine, oldest, "1");
    let counted = if practices == 0 {
        // The positions say it.
        "0".to_owned()
    } else {
        let entries = super::entries_after("e.pos", practices, 3).join(" UNION ALL ");
        format!("(SELECT COUNT(*) FROM ({entries} LIMIT {COUNTED} + 1) counted)")
    };
    format!(
        "SELECT f.head, f.floor, {counted} AS changes, \
           (SELECT o.sequenced_at FROM ({oldest}) o) AS oldest \
         FROM feed_product f WHERE f.product = $1"
    )
}
