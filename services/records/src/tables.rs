//! The tables of the service: kept up to date, and opened.

use shared::db::{Database, DatabaseSettings, TablesError};

use crate::migrations::{Migrator, TABLES};

/// What PostgreSQL calls the connections of this service.
const SERVICE: &str = "records";

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
    let db = Database::connect(&database.of_service(SERVICE)).await?;
    let missing = db.migrate::<Migrator>().await?;
    if let Some(role) = role {
        db.grant_to::<Migrator>(role, TABLES).await?;
    }
    db.close().await?;
    Ok(missing)
}

/// Connects to a database whose tables are of the newest version, or are to be
/// brought to it first.
pub(crate) async fn open(
    database: DatabaseSettings,
    to_migrate: bool,
) -> Result<Database, TablesError> {
    let db = Database::connect(&database.of_service(SERVICE)).await?;
    if to_migrate {
        let missing = db.migrate::<Migrator>().await?;
        if !missing.is_empty() {
            let missing = missing.join(", ");
            tracing::info!(service = SERVICE, missing, "the tables were brought up to date");
        }
    } else {
        db.check_tables::<Migrator>().await?;
    }
    db.warn_without_row_security().await?;
    Ok(db)
}
