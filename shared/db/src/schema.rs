//! The schema of a service: migrating it, and opening its database.

use sea_orm_migration::MigratorTrait;

use super::{connect::DatabaseSettings, database::Database, migration_status::SchemaError};

/// The schema of one service.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The service, in the `application_name` of its connections to PostgreSQL.
    pub service: &'static str,
    /// The names of all tables, for grants.
    pub tables: &'static [&'static str],
}

impl Schema {
    /// Applies the pending migrations, grants `role` the rights on the tables if it is given,
    /// and returns the names of the migrations.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached or changed, or its schema is ahead of this program
    /// and incompatible.
    pub async fn migrate<M: MigratorTrait>(
        &self,
        database: DatabaseSettings,
        role: Option<&str>,
    ) -> Result<Vec<String>, SchemaError> {
        let db = self.connect(database).await?;
        let applied = db.migrate::<M>().await?;
        if let Some(role) = role {
            db.grant_to::<M>(role, self.tables).await?;
        }
        db.close().await?;
        Ok(applied)
    }

    /// Connects to the database, and migrates the schema if `to_migrate`, or else checks that
    /// it is up to date.
    ///
    /// # Errors
    ///
    /// If the schema cannot be migrated or is not up to date, or the database cannot be
    /// reached.
    pub async fn open<M: MigratorTrait>(
        &self,
        database: DatabaseSettings,
        to_migrate: bool,
    ) -> Result<Database, SchemaError> {
        let db = self.connect(database).await?;
        if to_migrate {
            let applied = db.migrate::<M>().await?;
            if !applied.is_empty() {
                let (service, migrations) = (self.service, applied.join(", "));
                tracing::info!(service, migrations, "the schema was migrated");
            }
        } else {
            db.check_schema::<M>().await?;
        }
        db.warn_without_row_security().await?;
        Ok(db)
    }

    async fn connect(&self, database: DatabaseSettings) -> Result<Database, SchemaError> {
        let db = Database::connect(&database.of_service(self.service)).await?;
        db.check_server().await?;
        db.rewrite_once().await;
        Ok(db)
    }
}
