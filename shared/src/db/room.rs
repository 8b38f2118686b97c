//! Leaving room in the pages of tables whose rows are changed.

use sea_orm::{ConnectionTrait, DbBackend, DbErr};

/// Has PostgreSQL leave a quarter of each new page of `tables` free: for a migration.
/// Nothing on SQLite, which changes rows where they are.
///
/// PostgreSQL writes a changed row anew. Into the page of the old one, where there is
/// room: then no index has to be told, if none has a column that was changed.
pub async fn leave_room(connection: &impl ConnectionTrait, tables: &[&str]) -> Result<(), DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    for table in tables {
        let sql = format!("ALTER TABLE {table} SET (fillfactor = 75)");
        connection.execute_unprepared(&sql).await?;
    }
    Ok(())
}
