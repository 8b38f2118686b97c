//! How far behind a subscription is.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, Statement};
use shared::caller::{PracticeId, Product};

use crate::error::RecordError;

/// Positions that are looked at when the changes of one practice are counted.
const LOOKED_AT: i64 = 10_000;

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

/// How many changes stand after `after` in the feed of `product`: of one practice
/// when it is named. Those that are not kept any longer are counted too, when
/// all practices are.
pub(crate) async fn lag(
    db: &impl ConnectionTrait,
    product: &Product,
    after: i64,
    practice: Option<&PracticeId>,
) -> Result<Lag, RecordError> {
    let looked_at = if practice.is_some() { LOOKED_AT } else { 1 };
    let values = [
        product.as_str().into(),
        after.into(),
        looked_at.into(),
        practice.map(|practice| practice.as_str().to_owned()).into(),
    ];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), LAG, values);
    let row = db.query_one_raw(statement).await?;
    let row = row.ok_or(RecordError::Corrupt("a subscription without its feed"))?;
    let (head, floor): (i64, i64) = (row.try_get("", "head")?, row.try_get("", "floor")?);
    let first = after.max(floor - 1);
    let oldest = row.try_get("", "oldest")?;
    Ok(if practice.is_some() {
        let cut = head - first > LOOKED_AT;
        Lag { changes: row.try_get("", "changes")?, cut, oldest, head, floor }
    } else {
        Lag { changes: head - after, cut: false, oldest, head, floor }
    })
}

/// `$4` is the practice, or null for all.
const LAG: &str = "SELECT f.head, f.floor, COUNT(e.pos) AS changes, MIN(e.sequenced_at) AS oldest \
    FROM feed_product f LEFT JOIN feed_entry e ON e.product = f.product \
      AND e.pos > CASE WHEN f.floor - 1 > $2 THEN f.floor - 1 ELSE $2 END \
      AND e.pos <= CASE WHEN f.floor - 1 > $2 THEN f.floor - 1 ELSE $2 END + $3 \
      AND e.practice_id = COALESCE($4, e.practice_id) \
    WHERE f.product = $1 GROUP BY f.head, f.floor";
