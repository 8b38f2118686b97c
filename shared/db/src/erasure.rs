//! Physical erasure of deleted rows in the files of SQLite.
//!
//! The write connection overwrites deleted data (`secure_delete`). Two kinds of copies
//! remain. Pages that were freed before `secure_delete` was set keep their data: the file is
//! rewritten once (VACUUM). And the write-ahead log keeps earlier versions of pages until it
//! is truncated: that is requested after rows were erased, and retried until no reader
//! blocks it. No effect on PostgreSQL, where VACUUM does this.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use sea_orm::{
    DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{
        self, ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions,
    },
};
use tokio::sync::Notify;

/// How long readers may delay a truncation of the log, while writers are blocked.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

/// The `user_version` of a file whose free pages hold no data.
const REWRITTEN: i64 = 1;

/// The pending erasure of the write-ahead log.
#[derive(Clone, Debug)]
pub(super) struct Erasure(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The log may hold erased data.
    pending: AtomicBool,
    requested: Notify,
}

impl Default for Erasure {
    fn default() -> Self {
        // An earlier process may have ended before it truncated the log.
        Self(Arc::new(Inner { pending: AtomicBool::new(true), requested: Notify::new() }))
    }
}

impl Erasure {
    /// Requests a truncation, after rows were erased.
    pub(super) fn request(&self) {
        self.0.pending.store(true, SeqCst);
        self.0.requested.notify_one();
    }

    /// Waits for a request.
    pub(super) async fn requested(&self) {
        self.0.requested.notified().await;
    }

    /// Truncates the log if it may hold erased data. Returns `true` if nothing is pending.
    pub(super) async fn finish(&self, reader: &DatabaseConnection) -> Result<bool, DbErr> {
        if !self.0.pending.swap(false, SeqCst) {
            return Ok(true);
        }
        let truncated = truncate_log(reader).await;
        if !matches!(truncated, Ok(true)) {
            self.0.pending.store(true, SeqCst);
        }
        truncated.map_err(failed)
    }
}

/// Checkpoints and truncates the log. Returns `false` if a reader or another writer blocks
/// it. Uses a connection of its own, so that the write connection is not blocked.
async fn truncate_log(reader: &DatabaseConnection) -> Result<bool, sqlx::Error> {
    let mut connection = options(reader).busy_timeout(BUSY_TIMEOUT).connect().await?;
    // Does most of the work without blocking readers and writers.
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await?;
    let truncated = sqlx::query_as::<_, (i64, i64, i64)>("PRAGMA wal_checkpoint(TRUNCATE)");
    let (busy, _, _) = truncated.fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(busy == 0)
}

/// Rewrites a file that was written without `secure_delete`, unless that was done before.
/// Returns `true` if it was rewritten now. It needs free space of the size of the file
/// twice: beside the file, and in the temporary folder.
pub(super) async fn rewrite_once(reader: &DatabaseConnection) -> Result<bool, DbErr> {
    rewrite(reader).await.map_err(failed)
}

async fn rewrite(reader: &DatabaseConnection) -> Result<bool, sqlx::Error> {
    let options = options(reader).pragma("query_only", "OFF").pragma("secure_delete", "ON");
    let mut connection = options.connect().await?;
    let rewritten = rewrite_with(&mut connection).await;
    connection.close().await?;
    rewritten
}

async fn rewrite_with(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let version: i64 =
        sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    if version >= REWRITTEN {
        return Ok(false);
    }
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await?;
    if tables > 0 {
        tracing::info!("rewriting the database file once, to erase data in its free pages");
        sqlx::query("VACUUM").execute(&mut *connection).await?;
    }
    let set_version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {REWRITTEN}"));
    sqlx::query(set_version).execute(connection).await?;
    Ok(tables > 0)
}

/// The options of a connection outside of the pool.
fn options(reader: &DatabaseConnection) -> SqliteConnectOptions {
    (*reader.get_sqlite_connection_pool().connect_options()).clone()
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

#[cfg(test)]
mod tests;
