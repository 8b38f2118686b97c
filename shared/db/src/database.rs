//! The handle to a database.

use std::{fmt, future::Future};

use sea_orm::{DatabaseConnection, DbBackend, DbErr};
use tokio::sync::watch;
use tracing::Instrument as _;

use super::{
    analyze,
    connect::{DatabaseSettings, Writer, connect},
    erasure::{self, Erasure},
    errors::{Outage, redacted},
    migration_status::SchemaError,
    probe::Probe,
    server_check,
    sessions::Sessions,
    tenant_scope::{self, TenantScope},
    usage::{self, PoolUse},
    write::{NotCommitted, WriteEnd, WriteError, WriteTx, outage_of, panicked, write_with_retries},
    write_health::WriteHealth,
};

/// A handle to one service's database; cheap to clone.
#[derive(Clone)]
pub struct Database {
    reader: DatabaseConnection,
    writer: Writer,
    engine: DbBackend,
    /// Used on PostgreSQL only.
    sessions: Sessions,
    write_health: WriteHealth,
    /// Used on SQLite only.
    erasure: Erasure,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Database {
    /// Connects, and creates the file of an SQLite database if it is missing.
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, DbErr> {
        let sessions = Sessions::default();
        let (reader, writer) = connect(settings, &sessions).await?;
        let engine = reader.get_database_backend();
        let (write_health, erasure) = (WriteHealth::default(), Erasure::default());
        Ok(Self { reader, writer, engine, sessions, write_health, erasure })
    }

    /// The connections for reads. Writes fail on SQLite, and on PostgreSQL row-level security
    /// hides all rows from them.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// The database engine.
    pub fn engine(&self) -> DbBackend {
        self.engine
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

    /// Checks that the server is supported.
    ///
    /// # Errors
    ///
    /// If it is not, with the remedy; or if the check fails.
    pub(super) async fn check_server(&self) -> Result<(), SchemaError> {
        match server_check::check(&self.reader).await? {
            Some(unsupported) => Err(unsupported.into()),
            None => Ok(()),
        }
    }

    /// Rewrites (VACUUM) an SQLite file that was written without `secure_delete`, once: its
    /// free pages may hold erased data. A failure, as for lack of disk space, is logged and
    /// retried at the next start.
    pub(super) async fn rewrite_once(&self) {
        if self.engine != DbBackend::Sqlite {
            return;
        }
        if let Err(error) = erasure::rewrite_once(&self.reader).await {
            tracing::warn!(
                error = %redacted(&error),
                "the database file could not be rewritten: its free pages may hold erased data; \
                 the next start tries again (docs/operations.md)"
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
    pub(super) async fn warn_without_row_security(&self) -> Result<(), DbErr> {
        if tenant_scope::is_bypassed(&self.reader).await? {
            tracing::warn!(
                "ROW SECURITY IS OFF: the role of the database URL is a superuser or has \
                 BYPASSRLS, and row-level security does not separate practices; run the service \
                 as a plain role (docs/databases.md)"
            );
        }
        Ok(())
    }

    /// Updates the planner statistics, by a function of the step
    /// [`AnalyzeFunction`](crate::MigrationStep::AnalyzeFunction) of a migration. A failure is
    /// logged only.
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
