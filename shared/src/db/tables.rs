//! The tables of a service: brought up to date, and opened.

use sea_orm_migration::MigratorTrait;

use super::{Database, DatabaseSettings, TablesError};

/// Whose tables they are, and their names.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// The service, as PostgreSQL shows its connections.
    pub service: &'static str,
    /// All of them, for those who are given rights to them.
    pub names: &'static [&'static str],
}

impl Tables {
    /// Brings the tables to the newest version, and lets `role` use them when it is
    /// named; the migrations that were missing.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached or changed, or is newer than this program
    /// in a way that it does not survive.
    pub async fn migrate<M: MigratorTrait>(
        &self,
        database: DatabaseSettings,
        role: Option<&str>,
    ) -> Result<Vec<String>, TablesError> {
        let db = self.connect(database).await?;
        let missing = db.migrate::<M>().await?;
        if let Some(role) = role {
            db.grant_to::<M>(role, self.names).await?;
        }
        db.close().await?;
        Ok(missing)
    }

    /// Connects to a database whose tables are of the newest version, or are to be
    /// brought to it first.
    ///
    /// # Errors
    ///
    /// When they are not, and are not to be; or the database cannot be reached.
    pub async fn open<M: MigratorTrait>(
        &self,
        database: DatabaseSettings,
        to_migrate: bool,
    ) -> Result<Database, TablesError> {
        let db = self.connect(database).await?;
        if to_migrate {
            let missing = db.migrate::<M>().await?;
            if !missing.is_empty() {
                let (service, missing) = (self.service, missing.join(", "));
                tracing::info!(service, missing, "the tables were brought up to date");
            }
        } else {
            db.check_tables::<M>().await?;
        }
        db.warn_without_row_security().await?;
        Ok(db)
    }

    async fn connect(&self, database: DatabaseSettings) -> Result<Database, TablesError> {
        let db = Database::connect(&database.of_service(self.service)).await?;
        db.check_server().await?;
        db.rewrite_once().await;
        Ok(db)
    }
}
