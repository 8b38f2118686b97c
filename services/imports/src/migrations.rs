//! The migrations of the imports service, one module per version.
//!
//! They are written in SQL with placeholders for the types that differ between the
//! databases, so that they read as the schema.

mod m20261120_01_imports;
mod m20261121_02_rounds;
mod m20261125_03_duplicates;
mod m20261125_04_row_security;
mod m20261126_05_learn;
mod m20261126_06_room;
mod m20261130_07_worker;
mod m20261130_08_warnings;
mod m20261130_09_erasure;

use sea_orm_migration::{
    MigrationTrait, MigratorTrait, SchemaManager,
    sea_orm::{ConnectionTrait as _, DbBackend, DbErr, DynIden, sea_query::IntoIden as _},
};

/// Migrates the schema to the newest version.
#[derive(Debug)]
pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261120_01_imports::Migration),
            Box::new(m20261121_02_rounds::Migration),
            Box::new(m20261125_03_duplicates::Migration),
            Box::new(m20261125_04_row_security::Migration),
            Box::new(m20261126_05_learn::Migration),
            Box::new(m20261126_06_room::Migration),
            Box::new(m20261130_07_worker::Migration),
            Box::new(m20261130_08_warnings::Migration),
            Box::new(m20261130_09_erasure::Migration),
        ]
    }

    fn migration_table_name() -> DynIden {
        // A separate table: both services may share a PostgreSQL database.
        "imports_migrations".into_iden()
    }
}

/// The SQL function that updates the planner statistics (ANALYZE) of the tables that
/// the worker filled.
pub(crate) const ANALYZE_FUNCTION: &str = "concord_learn_of_imports";

/// All tables that `--grant-to` covers.
pub(crate) const TABLES: &[&str] = &[
    "import",
    "import_batch",
    "import_staged",
    "import_record",
    "import_parent",
    "import_known",
    "import_failure",
    "import_tally",
    "import_attempt",
    "import_duplicate",
    "import_likeness",
];

/// Replaces the type placeholders: `{uuid}`, `{time}`, `{date}`, `{bytes}` and `{key}`,
/// which is text in byte order.
fn in_dialect(engine: DbBackend, sql: &str) -> String {
    let types: [(&str, &str); 5] = match engine {
        DbBackend::Postgres => [
            ("{uuid}", "uuid"),
            ("{time}", "timestamptz"),
            ("{date}", "date"),
            ("{bytes}", "bytea"),
            ("{key}", "text COLLATE \"C\""),
        ],
        _ => [
            ("{uuid}", "uuid_text"),
            ("{time}", "timestamp_with_timezone_text"),
            ("{date}", "date_text"),
            ("{bytes}", "blob"),
            ("{key}", "text"),
        ],
    };
    types.iter().fold(sql.to_owned(), |sql, (name, sql_type)| sql.replace(name, sql_type))
}

/// Runs a script of SQL statements.
async fn run(manager: &SchemaManager<'_>, sql: &str) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let sql = in_dialect(connection.get_database_backend(), sql);
    connection.execute_unprepared(&sql).await.map(drop)
}

#[cfg(test)]
mod tests;
