//! The database schema of the service: migrates and opens it.

use concord_db::{Database, DatabaseSettings, Schema, SchemaError};

use crate::migrations::{Migrator, TABLES};

const SCHEMA: Schema = Schema { service: "records", tables: TABLES };

/// Migrates the schema to the newest version, and grants `role` the rights to use the
/// tables. Returns the names of the migrations that were applied.
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

/// Connects to a database and checks that its schema is up to date. Migrates it first if
/// `to_migrate`.
pub(crate) async fn open(
    database: DatabaseSettings,
    to_migrate: bool,
) -> Result<Database, SchemaError> {
    SCHEMA.open::<Migrator>(database, to_migrate).await
}
