//! Inserting many rows.

use sea_orm::{ActiveModelTrait, ConnectionTrait, DbErr};

use super::Writes;

/// Parameters of one statement. SQLite takes 32,766 and PostgreSQL 65,535.
const MAX_PARAMETERS: usize = 30_000;

/// How many rows of `columns` columns fit one statement.
pub const fn chunk_rows(columns: usize) -> usize {
    match MAX_PARAMETERS.checked_div(columns) {
        Some(rows) => rows,
        None => MAX_PARAMETERS,
    }
}

/// Inserts all `rows`, in as few statements as the limits allow.
pub async fn insert_all<A>(connection: &impl ConnectionTrait, rows: Vec<A>) -> Result<(), DbErr>
where
    A: ActiveModelTrait,
{
    let mut writes = Writes::new(connection.get_database_backend());
    writes.insert(rows);
    writes.run(connection).await
}
