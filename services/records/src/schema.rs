//! The schema of the service: migrates it, and opens the database.

use concord_db::{Database, DatabaseSettings, Schema, SchemaError};

use crate::migrations::{Migrator, TABLES};

pub(crate) const SCHEMA: Schema = Schema { service: "records", tables: TABLES };

/// Migrates the schema to the newest version, and grants `role` the rights to use the tables
/// if it is given. Returns the names of the applied migrations.
///
/// # Errors
///
/// If the database cannot be reached or changed, or if its schema is newer than this
/// program and incompatible.
pub async fn migrate(
    database: DatabaseSettings,
    role: Option<&str>,
) -> Result<Vec<String>, SchemaError> {
    SCHEMA.migrate::<Migrator>(database, role).await
}

/// Connects to the database; migrates its schema first, or fails if it is outdated.
pub(crate) async fn open(
    database: DatabaseSettings,
    to_migrate: bool,
) -> Result<Database, SchemaError> {
    SCHEMA.open::<Migrator>(database, to_migrate).await
}
