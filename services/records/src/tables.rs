//! The tables of the service: kept up to date, and opened.

use shared::db::{Database, DatabaseSettings, Tables, TablesError};

use crate::migrations::{Migrator, TABLES};

const OWN: Tables = Tables { service: "records", names: TABLES };

/// Brings the tables to the newest version, and lets `role` use them when it is
/// named; the migrations that were missing.
///
/// # Errors
///
/// When the database cannot be reached or changed, or is newer than this program
/// in a way that it does not survive.
pub async fn migrate(
    database: DatabaseSettings,
    role: Option<&str>,
) -> Result<Vec<String>, TablesError> {
    OWN.migrate::<Migrator>(database, role).await
}

/// Connects to a database whose tables are of the newest version, or are to be
/// brought to it first.
pub(crate) async fn open(
    database: DatabaseSettings,
    to_migrate: bool,
) -> Result<Database, TablesError> {
    OWN.open::<Migrator>(database, to_migrate).await
}
