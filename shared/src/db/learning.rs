//! Letting PostgreSQL look at tables that were filled just now.
//!
//! Its planner chooses by what it learned last, and its housekeeping looks once a
//! minute. An import fills empty tables in seconds; what is planned for a handful of
//! rows then reads all of them, again and again.

use sea_orm::{ConnectionTrait, DbBackend, DbErr};

/// Makes `function`, which looks at `tables`: for a migration. Nothing on SQLite,
/// whose plans ask for no such knowledge.
///
/// It has the rights of who makes it, the owner of the tables: nobody else may look.
pub async fn learning(
    connection: &impl ConnectionTrait,
    function: &str,
    tables: &[&str],
) -> Result<(), DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let sql = format!(
        "CREATE FUNCTION {function}() RETURNS void LANGUAGE sql SECURITY DEFINER \
         SET search_path FROM CURRENT AS 'ANALYZE {}'",
        tables.join(", ")
    );
    connection.execute_unprepared(&sql).await?;
    Ok(())
}

/// Calls it.
pub(super) async fn learn(pool: &impl ConnectionTrait, function: &str) -> Result<(), DbErr> {
    pool.execute_unprepared(&format!("SELECT {function}()")).await.map(drop)
}
