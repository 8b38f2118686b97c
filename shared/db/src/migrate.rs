//! Migrations, in one transaction under an advisory lock, so that replicas may start
//! concurrently and a failed migration is rolled back.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use sea_orm_migration::MigratorTrait;

use super::{
    database::Database,
    migration_status::{MigrationStatus, SchemaError},
    tenant_scope::TenantScope,
    write::WriteError,
};

/// The key of the advisory lock of migrations: "concord" on a telephone keypad.
const MIGRATION_LOCK: i64 = 2_662_673;

/// Disables the timeouts: another replica may hold the lock for long, and migrations of big
/// tables take long.
const NO_TIMEOUTS: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
                       SET LOCAL idle_in_transaction_session_timeout = 0";

/// The timeout of table locks. While DDL waits for a reader, such as a dump, all other
/// statements queue behind it; after the timeout the migration fails instead.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '15s'";

/// Selects the quoted name of the schema.
const SCHEMA: &str = "SELECT quote_ident(current_schema()) AS schema";

impl Database {
    /// Applies the pending migrations, and returns their names. Replicas may do so
    /// concurrently.
    ///
    /// # Errors
    ///
    /// If the schema is ahead of the program and incompatible, or cannot be changed.
    pub async fn migrate<M: MigratorTrait>(&self) -> Result<Vec<String>, SchemaError> {
        // Succeeds also without the rights to change tables, if there is nothing to do.
        if pending::<M>(self.reader()).await?.is_empty() {
            return Ok(Vec::new());
        }
        // Migrations move data of all practices.
        let migrated = self.write(TenantScope::AllPractices, |tx| async move {
            if tx.get_database_backend() == DbBackend::Postgres {
                lock(&tx).await?;
            }
            let pending = pending::<M>(&*tx).await?;
            if !pending.is_empty() {
                M::up(&*tx, None).await?;
            }
            Ok::<_, SchemaError>(pending)
        });
        migrated.await
    }

    /// Checks that the schema is up to date, or ahead of the program and compatible.
    ///
    /// # Errors
    ///
    /// If it is not.
    pub async fn check_schema<M: MigratorTrait>(&self) -> Result<(), SchemaError> {
        match pending::<M>(self.reader()).await? {
            pending if pending.is_empty() => Ok(()),
            pending => Err(SchemaError::Behind(pending)),
        }
    }

    /// Grants a role of PostgreSQL the rights to read and write `tables`, and to read the
    /// applied migrations.
    pub async fn grant_to<M: MigratorTrait>(
        &self,
        role: &str,
        tables: &[&str],
    ) -> Result<(), DbErr> {
        if self.engine() != DbBackend::Postgres {
            let message = "SQLite has no roles to grant rights to: leave --grant-to out";
            return Err(DbErr::Custom(message.to_owned()));
        }
        let role = format!("\"{}\"", role.replace('"', "\"\""));
        let schema = Statement::from_string(DbBackend::Postgres, SCHEMA);
        let row = self.reader().query_one_raw(schema).await?;
        let schema: String =
            row.map_or(Ok("public".to_owned()), |row| row.try_get("", "schema"))?;
        let (tables, migrations) = (tables.join(", "), M::migration_table_name().to_string());
        let grants = [
            format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
            format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role}"),
            format!("GRANT SELECT ON {migrations} TO {role}"),
        ];
        let granted = self.write(TenantScope::AllPractices, move |tx| {
            let grants = grants.clone();
            async move {
                for grant in &grants {
                    tx.execute_unprepared(grant).await?;
                }
                Ok(())
            }
        });
        granted.await
    }
}

impl WriteError for SchemaError {
    fn database(&self) -> Option<&DbErr> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

/// Takes the advisory lock of migrations.
async fn lock(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    tx.execute_unprepared(NO_TIMEOUTS).await?;
    tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
    tx.execute_unprepared(LOCK_TIMEOUT).await.map(drop)
}

/// The pending migrations.
///
/// # Errors
///
/// If the schema is ahead of the program and incompatible, or has diverged from it.
async fn pending<M: MigratorTrait>(
    connection: &impl ConnectionTrait,
) -> Result<Vec<String>, SchemaError> {
    let known: Vec<String> = M::migrations().iter().map(|one| one.name().to_owned()).collect();
    let applied = applied(connection, &M::migration_table_name().to_string()).await?;
    let MigrationStatus { pending, newer, incompatible } = MigrationStatus::of(&known, &applied);
    if !incompatible.is_empty() {
        return Err(SchemaError::TooNew(incompatible));
    }
    if !pending.is_empty() && !newer.is_empty() {
        return Err(SchemaError::Diverged { pending, newer });
    }
    if !newer.is_empty() {
        tracing::info!(migrations = newer.join(", "), "the schema is ahead of this program");
    }
    Ok(pending)
}

/// The migrations applied to the database, in order.
async fn applied(connection: &impl ConnectionTrait, table: &str) -> Result<Vec<String>, DbErr> {
    let engine = connection.get_database_backend();
    let exists = match engine {
        DbBackend::Postgres => "SELECT 1 AS n WHERE to_regclass($1) IS NOT NULL",
        _ => "SELECT 1 AS n FROM sqlite_master WHERE type = 'table' AND name = $1",
    };
    let exists = Statement::from_sql_and_values(engine, exists, [table.into()]);
    if connection.query_one_raw(exists).await?.is_none() {
        return Ok(Vec::new());
    }
    let names = format!("SELECT version FROM {table} ORDER BY version");
    let rows = connection.query_all_raw(Statement::from_string(engine, names)).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}
