//! Fencing tokens of imports: the highest token that a call of an import has presented. A
//! call with a lower token is stale and is rejected.

use chrono::{DateTime, Utc};
use concord_db::TenantDb;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::error::RecordError;

/// The fencing token of an import; 0 if it has none. It includes every call that was
/// answered before.
pub(crate) async fn current(
    db: TenantDb<'_, impl ConnectionTrait>,
    import: Uuid,
) -> Result<i64, RecordError> {
    let row = db
        .query_one(|sql| {
            format!(
                "SELECT fence FROM import_fence WHERE practice_id = {} AND import_id = {}",
                sql.practice(),
                sql.bind(import)
            )
        })
        .await?;
    Ok(row.map_or(Ok(0), |row| row.try_get("", "fence"))?)
}

/// Raises the fencing token of an import to `fence`, and locks it until the end of the
/// transaction, so that the calls of one import are serialised. Returns `false` if the
/// token is higher already.
pub(crate) async fn raise(
    db: TenantDb<'_, impl ConnectionTrait>,
    import: Uuid,
    fence: i64,
    now: DateTime<Utc>,
) -> Result<bool, RecordError> {
    let raised = db
        .execute(|sql| {
            format!(
                "INSERT INTO import_fence (practice_id, import_id, fence, raised_at)
                 VALUES ({}, {}, {}, {})
                 ON CONFLICT (practice_id, import_id)
                 DO UPDATE SET fence = excluded.fence, raised_at = excluded.raised_at
                 WHERE import_fence.fence <= excluded.fence",
                sql.practice(),
                sql.bind(import),
                sql.bind(fence),
                sql.bind(now)
            )
        })
        .await?;
    Ok(raised == 1)
}
