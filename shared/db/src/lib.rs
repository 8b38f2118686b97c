//! The database of a service: SQLite, embedded, or PostgreSQL.
//!
//! Reads use [`Database::reader`]. A write is a closure that [`Database::write`] runs in a
//! transaction. The closure must have no side effects beyond the database: it is retried
//! after a conflict, and on SQLite several closures share one commit (group commit).

mod analyze;
mod binds;
mod connect;
mod erasure;
mod errors;
mod fillfactor;
mod group_commit;
mod migrate;
mod migration_status;
mod probe;
mod schema;
mod server_check;
mod sessions;
mod sql;
mod statement_batch;
mod tenant_db;
mod tenant_scope;
mod transaction_monitor;
mod url;
mod usage;
mod write_health;

use std::{
    fmt,
    future::Future,
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

pub use analyze::create_analyze_function;
pub use binds::{
    Binds, Column, chunk_rows, chunks, column_names, pad_to_power_of_two, row_id_in, uuid_hex,
};
pub use connect::{DatabaseSettings, Timeouts};
use erasure::Erasure;
pub use errors::{
    DbErrorKind, Outage, Redacted, UniqueKey, error_kind, outage, redacted, violates,
};
pub use fillfactor::set_fillfactor;
use group_commit::GroupWriter;
pub use migration_status::{MigrationStatus, SchemaError, migration_number, required_migration};
pub use probe::Probe;
pub use schema::Schema;
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait;
pub use server_check::UnsupportedServer;
use sessions::Sessions;
pub use sql::{execute, query, query_one, statement};
pub use statement_batch::{StatementBatch, columns_of, values_of};
pub use tenant_db::{TenantBinds, TenantDb, TenantTable};
pub use tenant_scope::{TenantScope, enable_row_security};
use tokio::sync::watch;
use tracing::Instrument as _;
pub use url::UrlError;
pub use usage::PoolUse;
use write_health::WriteHealth;

/// The maximum number of attempts of a write that conflicts with other writers.
const WRITE_ATTEMPTS: u32 = 6;

/// A handle to one service's database; cheap to clone.
#[derive(Clone)]
pub struct Database {
    reader: DatabaseConnection,
    writer: Writer,
    url_kind: DbBackend,
    /// Used on PostgreSQL only.
    sessions: Sessions,
    write_health: WriteHealth,
    /// Used on SQLite only.
    erasure: Erasure,
}

#[derive(Clone)]
enum Writer {
    /// PostgreSQL: a pool; each write has a transaction of its own.
    Pool(DatabaseConnection),
    /// SQLite: one connection with group commit.
    Group(Arc<GroupWriter>),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("engine", &self.url_kind).finish_non_exhaustive()
    }
}

/// The transaction of a write. Clones must be dropped before the closure returns.
#[derive(Clone, Debug)]
pub struct WriteTx(Arc<DatabaseTransaction>);

impl Deref for WriteTx {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.0
    }
}

/// An error of a write.
pub trait WriteError: From<DbErr> + Send + 'static {
    /// The database error, if it is one.
    fn database(&self) -> Option<&DbErr>;

    /// Returns `true` if the write conflicted with another writer, and an immediate retry may
    /// succeed.
    fn is_conflict(&self) -> bool {
        self.database().is_some_and(|error| error_kind(error) == DbErrorKind::Conflict)
    }
}

impl WriteError for DbErr {
    fn database(&self) -> Option<&DbErr> {
        Some(self)
    }
}

/// How a write that does not fail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteEnd<T> {
    /// The transaction is committed.
    Commit(T),
    /// The transaction is rolled back, as after a dry run.
    Rollback(T),
}

/// Why the transaction of a write is rolled back.
enum NotCommitted<T, E> {
    Rollback(T),
    Failed(E),
}

impl<T, E: From<DbErr>> From<DbErr> for NotCommitted<T, E> {
    fn from(error: DbErr) -> Self {
        Self::Failed(error.into())
    }
}

impl<T: Send + 'static, E: WriteError> WriteError for NotCommitted<T, E> {
    fn database(&self) -> Option<&DbErr> {
        match self {
            Self::Rollback(_) => None,
            Self::Failed(error) => error.database(),
        }
    }

    fn is_conflict(&self) -> bool {
        match self {
            Self::Rollback(_) => false,
            Self::Failed(error) => error.is_conflict(),
        }
    }
}

impl Database {
    /// Connects, and creates the file of an SQLite database if it is missing.
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, DbErr> {
        let sessions = Sessions::default();
        let (reader, writer) = connect::connect(settings, &sessions).await?;
        let url_kind = reader.get_database_backend();
        let (write_health, erasure) = (WriteHealth::default(), Erasure::default());
        Ok(Self { reader, writer, url_kind, sessions, write_health, erasure })
    }

    /// The connections for reads. Writes fail on SQLite, and on PostgreSQL row-level security
    /// hides all rows from them.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// The database engine.
    pub fn engine(&self) -> DbBackend {
        self.url_kind
    }

    /// Checks that the database responds.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.reader.ping().await
    }

    /// A probe that checks periodically that the database responds.
    pub fn probe(&self) -> Probe {
        Probe::new(self.reader.clone(), self.sessions.clone(), self.write_health.clone())
    }

    /// Why the database rejects writes, if known: it is read-only, or its disk is full. Reads
    /// may still succeed.
    pub fn write_outage(&self) -> Option<Outage> {
        self.write_health.outage()
    }

    /// The number of writes that failed because of the database, by cause.
    pub fn failed_writes(&self) -> impl Iterator<Item = (Outage, u64)> {
        self.write_health.counts()
    }

    /// Notifies when the open sessions of PostgreSQL become stale, as after a failover.
    /// Long-term holders of a session must then return it.
    pub fn renewals(&self) -> watch::Receiver<()> {
        self.sessions.renewals()
    }

    /// The usage of the connection pool; on SQLite, of the read connections.
    pub fn pool_use(&self) -> PoolUse {
        usage::pool_use(&self.reader)
    }

    /// The number of writes queued for the single writer of SQLite.
    pub fn writes_waiting(&self) -> usize {
        match &self.writer {
            Writer::Group(group) => group.waiting(),
            Writer::Pool(_) => 0,
        }
    }

    /// Applies the pending migrations, and returns their names. Replicas may do so
    /// concurrently.
    ///
    /// # Errors
    ///
    /// If the schema is ahead of the program and incompatible, or cannot be changed.
    pub async fn migrate<M: MigratorTrait>(&self) -> Result<Vec<String>, SchemaError> {
        migrate::migrate::<M>(self).await
    }

    /// Checks that the schema is up to date, or ahead of the program and compatible.
    ///
    /// # Errors
    ///
    /// If it is not.
    pub async fn check_schema<M: MigratorTrait>(&self) -> Result<(), SchemaError> {
        migrate::check::<M>(&self.reader).await
    }

    /// Grants a role of PostgreSQL the rights to read and write `tables`.
    pub async fn grant_to<M: MigratorTrait>(
        &self,
        role: &str,
        tables: &[&str],
    ) -> Result<(), DbErr> {
        if self.url_kind != DbBackend::Postgres {
            let message = "SQLite has no roles to grant rights to: leave --grant-to out";
            return Err(DbErr::Custom(message.to_owned()));
        }
        migrate::grant::<M>(self, role, tables).await
    }

    /// Checks that the server is supported.
    ///
    /// # Errors
    ///
    /// If it is not, with the remedy; or if the check fails.
    pub async fn check_server(&self) -> Result<(), SchemaError> {
        match server_check::check(&self.reader).await? {
            Some(unsupported) => Err(unsupported.into()),
            None => Ok(()),
        }
    }

    /// Rewrites (VACUUM) an SQLite file that was written without `secure_delete`, once: its
    /// free pages may hold erased data. A failure, as for lack of disk space, is logged and
    /// retried at the next start.
    pub async fn rewrite_once(&self) {
        if self.url_kind != DbBackend::Sqlite {
            return;
        }
        if let Err(error) = erasure::rewrite_once(&self.reader).await {
            tracing::warn!(
                error = %redacted(&error),
                "the database file could not be rewritten: its free pages may hold erased data; \
                 the next start tries again (docs/upgrades.md)"
            );
        }
    }

    /// Requests the end of an erasure, after a committed write has erased personal data:
    /// SQLite keeps earlier versions of its pages in the write-ahead log until
    /// [`finish_erasure`](Self::finish_erasure).
    pub fn request_erasure(&self) {
        self.erasure.request();
    }

    /// Waits until [`request_erasure`](Self::request_erasure) is called.
    pub async fn erasure_requested(&self) {
        self.erasure.requested().await;
    }

    /// Removes erased data from the write-ahead log of SQLite. Returns `false` if a reader or
    /// a writer blocked that; the caller must retry.
    pub async fn finish_erasure(&self) -> Result<bool, DbErr> {
        match self.writer {
            Writer::Group(_) => self.erasure.finish(&self.reader).await,
            Writer::Pool(_) => Ok(true),
        }
    }

    /// Logs a warning if row-level security does not apply to the role of the database URL.
    pub async fn warn_without_row_security(&self) -> Result<(), DbErr> {
        if tenant_scope::is_bypassed(&self.reader).await? {
            tracing::warn!(
                "ROW SECURITY IS OFF: the role of the database URL is a superuser or has \
                 BYPASSRLS, and row-level security does not separate practices; run the service \
                 as a plain role (docs/databases.md)"
            );
        }
        Ok(())
    }

    /// Updates the planner statistics, by a function that [`create_analyze_function`] has
    /// created. A failure is logged only.
    pub async fn analyze(&self, function: &str) {
        // Plans of SQLite do not use statistics.
        let Writer::Pool(pool) = &self.writer else { return };
        if let Err(error) = analyze::analyze(pool, function).await {
            tracing::warn!(function, error = %redacted(&error), "ANALYZE failed");
        }
    }

    /// Runs `job` in a transaction, and commits it if the result is `Ok`. On PostgreSQL only
    /// the rows of `scope` are visible and can be changed.
    ///
    /// After a conflict with another writer `job` is retried a few times. The
    /// transaction runs to completion when the caller's future is dropped.
    pub async fn write<T, E, F, Fut>(&self, scope: impl Into<TenantScope>, job: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: WriteError,
        F: Fn(WriteTx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let outcome = match &self.writer {
            Writer::Group(group) => group.write(job).await,
            Writer::Pool(pool) => {
                let (pool, sessions) = (pool.clone(), self.sessions.clone());
                let scope = scope.into();
                let write = async move { write_with_retries(&pool, &sessions, &scope, &job).await };
                let task = tokio::spawn(write.in_current_span());
                task.await.unwrap_or_else(|_| Err(panicked().into()))
            }
        };
        if let Some(outage) = outcome.as_ref().err().and_then(outage_of) {
            self.write_health.record_failure(outage);
        }
        outcome
    }

    /// As [`write`](Self::write), but `job` also decides whether the transaction is committed
    /// or rolled back.
    pub async fn write_or_roll_back<T, E, F, Fut>(
        &self,
        scope: impl Into<TenantScope>,
        job: F,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: WriteError,
        F: Fn(WriteTx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<WriteEnd<T>, E>> + Send + 'static,
    {
        let write = self.write(scope, move |tx| {
            let end = job(tx);
            async move {
                match end.await {
                    Ok(WriteEnd::Commit(answer)) => Ok(answer),
                    Ok(WriteEnd::Rollback(answer)) => Err(NotCommitted::Rollback(answer)),
                    Err(error) => Err(NotCommitted::Failed(error)),
                }
            }
        });
        match write.await {
            Ok(answer) | Err(NotCommitted::Rollback(answer)) => Ok(answer),
            Err(NotCommitted::Failed(error)) => Err(error),
        }
    }

    /// Waits for writes in progress and closes all connections.
    pub async fn close(self) -> Result<(), DbErr> {
        match self.writer {
            Writer::Pool(pool) => pool.close().await?,
            Writer::Group(group) => group.close().await?,
        }
        self.reader.close().await
    }
}

/// The error of a write that panicked. The panic message may hold a value of a record, and
/// is not included.
fn panicked() -> DbErr {
    DbErr::Custom("a write panicked".to_owned())
}

/// Why the database failed a write.
fn outage_of(error: &impl WriteError) -> Option<Outage> {
    error.database().and_then(outage)
}

async fn write_with_retries<T, E, F, Fut>(
    pool: &DatabaseConnection,
    sessions: &Sessions,
    scope: &TenantScope,
    job: &F,
) -> Result<T, E>
where
    E: WriteError,
    F: Fn(WriteTx) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut renewed = false;
    for attempt in 1.. {
        let begun = Instant::now();
        let outcome = write_once(pool, scope, job).await;
        let outage = outcome.as_ref().err().and_then(outage_of);
        if outage == Some(Outage::ReadOnly)
            && !renewed
            && sessions.renew_if_writable(pool, begun).await
        {
            renewed = true;
            continue;
        }
        match outcome {
            Err(error) if error.is_conflict() && attempt < WRITE_ATTEMPTS => {
                // Backoff with jitter, or the same writers would conflict again.
                let backoff = u64::from(attempt) * 7 + u64::from(ids_entropy() % 11);
                tokio::time::sleep(Duration::from_millis(backoff)).await;
            }
            outcome => return outcome,
        }
    }
    Err(DbErr::Custom("unreachable: the loop returns".to_owned()).into())
}

/// A few random bits: the tail of a new UUID.
fn ids_entropy() -> u8 {
    concord_core::ids::new_uuid().as_bytes().last().copied().unwrap_or_default()
}

async fn write_once<T, E, F, Fut>(
    pool: &DatabaseConnection,
    scope: &TenantScope,
    job: &F,
) -> Result<T, E>
where
    E: WriteError,
    F: Fn(WriteTx) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let tx = WriteTx(Arc::new(begin(pool).await?));
    scope.apply(&tx).await?;
    let outcome = job(tx.clone()).await;
    let tx = sole(tx)?;
    match outcome {
        Ok(answer) => {
            tx.commit().await?;
            Ok(answer)
        }
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}

/// Begins a write transaction. On SQLite it takes the write lock at once (`BEGIN
/// IMMEDIATE`), because the upgrade of a read lock would fail.
async fn begin(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    connection.begin_with_options(options).await
}

fn sole(tx: WriteTx) -> Result<DatabaseTransaction, DbErr> {
    Arc::try_unwrap(tx.0)
        .map_err(|_| DbErr::Custom("a write kept its transaction after it returned".to_owned()))
}

#[cfg(test)]
mod test_database;
#[cfg(test)]
mod tests;
