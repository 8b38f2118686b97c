//! Bulk inserts.

use sea_orm::{ActiveModelTrait, ConnectionTrait, DbErr};

use super::StatementBatch;

/// The maximum number of parameters of a statement. SQLite allows 32,766 and PostgreSQL
/// 65,535.
const MAX_PARAMETERS: usize = 30_000;

/// The maximum number of rows of `columns` columns in one statement.
pub const fn chunk_rows(columns: usize) -> usize {
    match MAX_PARAMETERS.checked_div(columns) {
        Some(rows) => rows,
        None => MAX_PARAMETERS,
    }
}

/// Inserts `rows` in as few statements as the limits allow.
pub async fn insert_all<A>(connection: &impl ConnectionTrait, rows: Vec<A>) -> Result<(), DbErr>
where
    A: ActiveModelTrait,
{
    let mut batch = StatementBatch::new(connection.get_database_backend());
    batch.insert(rows);
    batch.run(connection).await
}
