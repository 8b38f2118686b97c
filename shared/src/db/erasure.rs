//! Erased rows of SQLite: out of the free pages of the file, and out of its
//! write-ahead log.
//!
//! The connection that writes overwrites what it deletes (`secure_delete`). Two copies
//! remain. Pages that were freed before this was so keep what they held: the file is
//! rewritten once. And the log keeps earlier versions of pages until it is truncated:
//! that is asked for after rows were erased, and tried until no reader is in the way.
//! On PostgreSQL nothing is done here; VACUUM is its counterpart.

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

/// How long readers may delay a truncation of the log. Writers wait meanwhile.
const PATIENCE: Duration = Duration::from_millis(250);

/// The `user_version` of a file whose free pages hold nothing.
const REWRITTEN: i64 = 1;

/// What is still to be erased.
#[derive(Clone, Debug)]
pub(super) struct Erasure(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Whether the log may hold what was erased.
    pending: AtomicBool,
    asked: Notify,
}

impl Default for Erasure {
    fn default() -> Self {
        // Of an earlier process, which may have ended before it truncated the log.
        Self(Arc::new(Inner { pending: AtomicBool::new(true), asked: Notify::new() }))
    }
}

impl Erasure {
    /// Rows were erased.
    pub(super) fn ask(&self) {
        self.0.pending.store(true, SeqCst);
        self.0.asked.notify_one();
    }

    /// Waits until rows were erased.
    pub(super) async fn asked(&self) {
        self.0.asked.notified().await;
    }

    /// Truncates the log, if it may hold what was erased; whether nothing is left to do.
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

/// Writes the log into the file and truncates it; `false` when a reader, or another
/// writer, was in the way. On a connection of its own: the one that writes would wait.
async fn truncate_log(reader: &DatabaseConnection) -> Result<bool, sqlx::Error> {
    let mut connection = options(reader).busy_timeout(PATIENCE).connect().await?;
    // Most of the work, while everybody else works on.
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await?;
    let truncated = sqlx::query_as::<_, (i64, i64, i64)>("PRAGMA wal_checkpoint(TRUNCATE)");
    let (busy, _, _) = truncated.fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(busy == 0)
}

/// Rewrites a file that was written without `secure_delete`, unless that was done
/// before; whether it was rewritten now. It needs as much room as the file takes, once
/// beside it and once in the folder of temporary files.
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
        tracing::info!("the database file is rewritten once, so that its free pages hold nothing");
        sqlx::query("VACUUM").execute(&mut *connection).await?;
    }
    let noted = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {REWRITTEN}"));
    sqlx::query(noted).execute(connection).await?;
    Ok(tables > 0)
}

/// Of a connection beside the pool.
fn options(reader: &DatabaseConnection) -> SqliteConnectOptions {
    (*reader.get_sqlite_connection_pool().connect_options()).clone()
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

#[cfg(test)]
mod tests;
