//! Deletes expired rows.

use chrono::{DateTime, Utc};
use concord_db::row_id_in;
use sea_orm::ConnectionTrait;

use crate::error::RecordError;

/// What expires.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expiring {
    /// Stored responses, with their idempotency keys.
    Responses,
    /// Fencing tokens, after they were last raised.
    Fences,
    /// Erasures.
    Erasures,
}

/// Deletes the oldest rows of a table, of all practices, whose time is before `before`: at
/// most `limit`. Returns their number.
pub(crate) async fn remove_oldest(
    db: &impl ConnectionTrait,
    what: Expiring,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, RecordError> {
    let (table, column) = match what {
        Expiring::Responses => ("request", "answered_at"),
        Expiring::Fences => ("import_fence", "raised_at"),
        Expiring::Erasures => ("erasure", "erased_at"),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let deleted = concord_db::execute(db, |sql| {
        let (before, limit) = (sql.bind(before), sql.bind(limit));
        let oldest = format!("WHERE {column} < {before} ORDER BY {column} LIMIT {limit}");
        format!("DELETE FROM {table} WHERE {}", row_id_in(sql.engine(), table, &oldest))
    });
    Ok(deleted.await?)
}
