//! Migrations, all in one transaction and under a lock, so that replicas may
//! start together and a migration that fails leaves nothing behind.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use sea_orm_migration::MigratorTrait;

use super::{
    Database, Scope, WriteError,
    lineage::{Lineage, TablesError},
};

/// The advisory lock of migrations: "concord" as a number on a telephone.
const MIGRATION_LOCK: i64 = 2_662_673;

/// Another replica may be at it for long, and a big table takes its time.
const PATIENT: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
                       SET LOCAL idle_in_transaction_session_timeout = 0";

/// While a change of a table waits for whoever reads it, everyone else waits behind
/// it. Behind a dump that would be long: then the migration gives way.
const GIVES_WAY: &str = "SET LOCAL lock_timeout = '15s'";

/// Brings the tables to the newest version; the migrations that were missing.
pub(super) async fn migrate<M: MigratorTrait>(db: &Database) -> Result<Vec<String>, TablesError> {
    // Without rights to change tables, too, a program finds that all is well.
    if pending::<M>(db.reader()).await?.is_empty() {
        return Ok(Vec::new());
    }
    // What is moved from column to column is everyone's.
    let migrated = db.write(Scope::AllPractices, |tx| async move {
        if tx.get_database_backend() == DbBackend::Postgres {
            take_turns(&tx).await?;
        }
        let missing = pending::<M>(&*tx).await?;
        if !missing.is_empty() {
            M::up(&*tx, None).await?;
        }
        Ok::<_, TablesError>(missing)
    });
    migrated.await
}

impl WriteError for TablesError {
    fn database(&self) -> Option<&DbErr> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

async fn take_turns(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    tx.execute_unprepared(PATIENT).await?;
    tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
    tx.execute_unprepared(GIVES_WAY).await.map(drop)
}

/// Fails when the tables lack something that the program knows.
pub(super) async fn check<M: MigratorTrait>(
    connection: &impl ConnectionTrait,
) -> Result<(), TablesError> {
    match pending::<M>(connection).await? {
        missing if missing.is_empty() => Ok(()),
        missing => Err(TablesError::Behind(missing)),
    }
}

/// The migrations that are missing.
///
/// # Errors
///
/// When the database is newer than the program in a way that it does not survive.
async fn pending<M: MigratorTrait>(
    connection: &impl ConnectionTrait,
) -> Result<Vec<String>, TablesError> {
    let known: Vec<String> = M::migrations().iter().map(|one| one.name().to_owned()).collect();
    let applied = applied(connection, &M::migration_table_name().to_string()).await?;
    let Lineage { pending, newer, unbearable } = Lineage::of(&known, &applied);
    if !unbearable.is_empty() {
        return Err(TablesError::TooNew(unbearable));
    }
    if !pending.is_empty() && !newer.is_empty() {
        return Err(TablesError::Apart { pending, newer });
    }
    if !newer.is_empty() {
        tracing::info!(migrations = newer.join(", "), "the tables are newer than this program");
    }
    Ok(pending)
}

/// The migrations that the database has had, in their order.
async fn applied(connection: &impl ConnectionTrait, table: &str) -> Result<Vec<String>, DbErr> {
    let engine = connection.get_database_backend();
    let looks = match engine {
        DbBackend::Postgres => "SELECT 1 AS n WHERE to_regclass($1) IS NOT NULL",
        _ => "SELECT 1 AS n FROM sqlite_master WHERE type = 'table' AND name = $1",
    };
    let looks = Statement::from_sql_and_values(engine, looks, [table.into()]);
    if connection.query_one_raw(looks).await?.is_none() {
        return Ok(Vec::new());
    }
    let names = format!("SELECT version FROM {table} ORDER BY version");
    let rows = connection.query_all_raw(Statement::from_string(engine, names)).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}

/// Lets `role` read and write the tables, and see which migrations they have had.
pub(super) async fn grant<M: MigratorTrait>(
    db: &Database,
    role: &str,
    tables: &[&str],
) -> Result<(), DbErr> {
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    let row =
        db.reader().query_one_raw(Statement::from_string(DbBackend::Postgres, SCHEMA)).await?;
    let schema: String = row.map_or(Ok("public".to_owned()), |row| row.try_get("", "schema"))?;
    let (tables, migrations) = (tables.join(", "), M::migration_table_name().to_string());
    let grants = [
        format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role}"),
        format!("GRANT SELECT ON {migrations} TO {role}"),
    ];
    let granted = db.write(Scope::AllPractices, move |tx| {
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

const SCHEMA: &str = "SELECT quote_ident(current_schema()) AS schema";
