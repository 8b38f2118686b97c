//! The state of the writer's transaction, reported by the hooks of SQLite.
//!
//! The driver counts the nested transactions that it began, and chooses the statement that
//! ends one by that count. After a failed COMMIT or ROLLBACK the count may be wrong: the
//! driver then releases a savepoint instead of a COMMIT, and nothing is committed. SQLite
//! also rolls back by itself if the disk is full or memory is short, and each later
//! statement would then be committed alone. So neither the driver's count nor the success
//! of a statement is relied on. SQLite calls a hook before each commit and at each rollback
//! of the connection. It calls the commit hook for each transaction that began with
//! `BEGIN IMMEDIATE`, also if that changed nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
};

use sea_orm::{
    ConnectOptions, DbErr,
    sqlx::{self, Connection as _, Sqlite, SqliteConnection, pool::PoolOptions},
};

use super::errors::rolled_back;

/// No transaction is open, and no commit is allowed.
const NONE: u8 = 0;
/// A transaction is open, and its commit is not allowed yet.
const OPEN: u8 = 1;
/// A transaction is open, and its commit is allowed.
const MAY_COMMIT: u8 = 2;
/// SQLite has started to commit the transaction, and has not rolled it back.
const COMMITTED: u8 = 3;
/// SQLite has rolled the transaction back.
const ROLLED_BACK: u8 = 4;

/// Monitors the transaction of the write connection.
#[derive(Clone, Debug, Default)]
pub(super) struct TransactionMonitor(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    transaction: AtomicU8,
    /// The connection must not be reused.
    is_discarded: AtomicBool,
}

impl TransactionMonitor {
    /// Sets the hooks on each connection of a pool of one, and makes the pool replace a
    /// connection that is discarded or in a transaction.
    pub(super) fn attach(&self, options: &mut ConnectOptions) {
        let (connected, acquired) = (self.clone(), self.clone());
        options
            .map_sqlx_sqlite_pool_opts(move |pool: PoolOptions<Sqlite>| {
                let monitor = connected.clone();
                pool.after_connect(move |connection, _| {
                    let monitor = monitor.clone();
                    Box::pin(async move { monitor.set_hooks(connection).await })
                })
            })
            .map_sqlx_sqlite_before_acquire(move |connection, _| {
                let reusable = acquired.is_reusable(connection);
                Box::pin(async move { Ok(reusable) })
            });
    }

    async fn set_hooks(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let mut handle = connection.lock_handle().await?;
        let inner = Arc::clone(&self.0);
        // A commit hook that returns `false` turns the commit into a rollback.
        handle.set_commit_hook(move || {
            let allowed = inner.transaction.compare_exchange(MAY_COMMIT, COMMITTED, SeqCst, SeqCst);
            allowed.is_ok()
        });
        let inner = Arc::clone(&self.0);
        handle.set_rollback_hook(move || inner.transaction.store(ROLLED_BACK, SeqCst));
        self.0.transaction.store(NONE, SeqCst);
        self.0.is_discarded.store(false, SeqCst);
        Ok(())
    }

    fn is_reusable(&self, connection: &SqliteConnection) -> bool {
        !connection.is_in_transaction() && !self.is_discarded()
    }

    /// Makes the pool replace the connection before its next use.
    pub(super) fn discard_connection(&self) {
        self.0.is_discarded.store(true, SeqCst);
    }

    /// Returns `true` if the connection is to be replaced.
    pub(super) fn is_discarded(&self) -> bool {
        self.0.is_discarded.load(SeqCst)
    }

    /// Records that `BEGIN IMMEDIATE` has succeeded.
    pub(super) fn record_begin(&self) {
        self.0.transaction.store(OPEN, SeqCst);
    }

    /// Returns `true` if SQLite has committed the transaction or rolled it back.
    pub(super) fn has_ended(&self) -> bool {
        self.0.transaction.load(SeqCst) != OPEN
    }

    /// Allows the commit, directly before the statement.
    ///
    /// # Errors
    ///
    /// If the transaction has already ended.
    pub(super) fn allow_commit(&self) -> Result<(), DbErr> {
        let open = self.0.transaction.compare_exchange(OPEN, MAY_COMMIT, SeqCst, SeqCst);
        open.map(drop).map_err(|_| rolled_back())
    }

    /// Checks that SQLite has committed the transaction, after the statement has succeeded.
    ///
    /// # Errors
    ///
    /// If it has not.
    pub(super) fn check_commit(&self) -> Result<(), DbErr> {
        let committed = self.0.transaction.compare_exchange(COMMITTED, NONE, SeqCst, SeqCst);
        committed.map(drop).map_err(|_| rolled_back())
    }
}
