//! Runs SQL statements. The text of a statement is written by a closure that binds the
//! parameters, so that no text has numbers of parameters, and texts can be composed.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

use super::binds::Binds;

/// A statement of `engine`, whose text and parameters `text` creates.
pub fn statement(engine: DbBackend, text: impl FnOnce(&mut Binds) -> String) -> Statement {
    let mut binds = Binds::new(engine);
    let sql = text(&mut binds);
    Statement::from_sql_and_values(engine, sql, binds.into_values())
}

/// Runs a query, and returns all its rows.
pub async fn query<C: ConnectionTrait>(
    db: &C,
    text: impl FnOnce(&mut Binds) -> String,
) -> Result<Vec<QueryResult>, DbErr> {
    db.query_all_raw(statement(db.get_database_backend(), text)).await
}

/// Runs a query, and returns its first row.
pub async fn query_one<C: ConnectionTrait>(
    db: &C,
    text: impl FnOnce(&mut Binds) -> String,
) -> Result<Option<QueryResult>, DbErr> {
    db.query_one_raw(statement(db.get_database_backend(), text)).await
}

/// Runs a statement, and returns the number of changed rows.
pub async fn execute<C: ConnectionTrait>(
    db: &C,
    text: impl FnOnce(&mut Binds) -> String,
) -> Result<u64, DbErr> {
    let done = db.execute_raw(statement(db.get_database_backend(), text)).await?;
    Ok(done.rows_affected())
}
