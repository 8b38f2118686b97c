//! Planner statistics of PostgreSQL for tables that were filled recently.
//!
//! The planner uses the last statistics, and autovacuum runs once a minute. An import fills
//! empty tables in seconds; plans for a few rows then read all of them repeatedly.

use sea_orm::{ConnectionTrait, DbBackend, DbErr};

/// Creates `function`, which runs ANALYZE on `tables`. For migrations. No effect on SQLite,
/// whose plans do not use statistics.
///
/// The function is SECURITY DEFINER, because only the owner of a table may run ANALYZE.
pub(super) async fn create_analyze_function(
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

/// Calls `function`.
pub(super) async fn analyze(pool: &impl ConnectionTrait, function: &str) -> Result<(), DbErr> {
    pool.execute_unprepared(&format!("SELECT {function}()")).await.map(drop)
}
