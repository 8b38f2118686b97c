//! Deletes expired rows.

use chrono::{DateTime, Utc};
use concord_db::row_id_in;
use sea_orm::{ConnectionTrait, Statement};

use crate::error::RecordError;

/// Deletes the oldest rows of a table, of all practices, whose time in the column is before
/// `before`: at most `limit`. Returns their number.
pub(super) async fn remove_oldest(
    db: &impl ConnectionTrait,
    (table, column): (&str, &str),
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, RecordError> {
    let engine = db.get_database_backend();
    let condition = format!("WHERE {column} < $1 ORDER BY {column} LIMIT $2");
    let sql = format!("DELETE FROM {table} WHERE {}", row_id_in(engine, table, &condition));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = [before.into(), limit.into()];
    let deleted = db.execute_raw(Statement::from_sql_and_values(engine, sql, values)).await?;
    Ok(deleted.rows_affected())
}
