//! Fencing tokens of imports: the highest token that a call of an import has presented. A
//! call with a lower token is stale and is rejected.

use chrono::{DateTime, Utc};
use concord_core::caller::PracticeId;
use sea_orm::{ConnectionTrait, Statement};
use uuid::Uuid;

use super::expiry::remove_oldest;
use crate::error::RecordError;

/// The fencing token of an import; 0 if it has none. It includes every call that was
/// answered before.
pub(crate) async fn current(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    import: Uuid,
) -> Result<i64, RecordError> {
    let sql = "SELECT fence FROM import_fence WHERE practice_id = $1 AND import_id = $2";
    let values = [practice.as_str().into(), import.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let row = db.query_one_raw(statement).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get("", "fence"))?)
}

/// Raises the fencing token of an import to `fence`, and locks it until the end of the
/// transaction, so that the calls of one import are serialised. Returns `false` if the
/// token is higher already.
pub(crate) async fn raise(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    import: Uuid,
    fence: i64,
    now: DateTime<Utc>,
) -> Result<bool, RecordError> {
    let sql = "INSERT INTO import_fence (practice_id, import_id, fence, raised_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (practice_id, import_id)
        DO UPDATE SET fence = excluded.fence, raised_at = excluded.raised_at
        WHERE import_fence.fence <= excluded.fence";
    let values = [practice.as_str().into(), import.into(), fence.into(), now.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.execute_raw(statement).await?.rows_affected() == 1)
}

/// Deletes the oldest fencing tokens that were last raised before `before`, of all
/// practices, at most `limit`. Returns their number.
pub(crate) async fn delete_before(
    db: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, RecordError> {
    remove_oldest(db, ("import_fence", "raised_at"), before, limit).await
}
