//! The fillfactor of tables whose rows are updated.

use sea_orm::{ConnectionTrait, DbBackend, DbErr};

/// Sets the fillfactor of `tables` to 75 on PostgreSQL. For migrations. No effect on SQLite,
/// which updates rows in place.
///
/// An update writes a new version of the row. If the page has room for it, and no indexed
/// column changes, no index is updated (heap-only tuple).
pub(super) async fn set_fillfactor(
    connection: &impl ConnectionTrait,
    tables: &[&str],
) -> Result<(), DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    for table in tables {
        let sql = format!("ALTER TABLE {table} SET (fillfactor = 75)");
        connection.execute_unprepared(&sql).await?;
    }
    Ok(())
}
