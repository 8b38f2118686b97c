//! The state of the writer's transaction, as SQLite itself reports it.
//!
//! The driver counts the transactions that it began, and chooses the statement that
//! ends one by that count. After a COMMIT or a ROLLBACK that failed, the count may
//! be wrong: then the driver releases a savepoint where a COMMIT is needed, and
//! nothing is committed. SQLite also rolls back by itself, when the disk is full or
//! memory is short, and the statements after that would each be committed alone. So
//! neither the driver's count nor the success of a statement is relied on here:
//! SQLite calls a hook before each commit and at each rollback of the connection. It
//! calls the one of the commit for each transaction that began with
//! `BEGIN IMMEDIATE`, also when that changed nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
};

use sea_orm::{
    ConnectOptions, DbErr,
    sqlx::{self, Connection as _, Sqlite, SqliteConnection, pool::PoolOptions},
};

use super::errors::rolled_back;

/// No transaction is open, and none may be committed.
const NONE: u8 = 0;
/// A transaction is open. It may not be committed yet.
const OPEN: u8 = 1;
/// A transaction is open that may be committed.
const MAY_COMMIT: u8 = 2;
/// SQLite was about to commit the transaction, and has not rolled it back.
const COMMITTED: u8 = 3;
/// SQLite has rolled the transaction back.
const ROLLED_BACK: u8 = 4;

/// The state of the transaction on the one connection that writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    transaction: AtomicU8,
    /// The connection is not to be used again.
    spoilt: AtomicBool,
}

impl Witness {
    /// Watches each connection of a pool that has one at a time, and has the pool
    /// replace a connection that is spoilt or that is in a transaction.
    pub(super) fn watch(&self, options: &mut ConnectOptions) {
        let (connected, asked) = (self.clone(), self.clone());
        options
            .map_sqlx_sqlite_pool_opts(move |pool: PoolOptions<Sqlite>| {
                let witness = connected.clone();
                pool.after_connect(move |connection, _| {
                    let witness = witness.clone();
                    Box::pin(async move { witness.begin_to_watch(connection).await })
                })
            })
            .map_sqlx_sqlite_before_acquire(move |connection, _| {
                let sound = asked.is_sound(connection);
                Box::pin(async move { Ok(sound) })
            });
    }

    async fn begin_to_watch(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let mut handle = connection.lock_handle().await?;
        let seen = Arc::clone(&self.0);
        // A commit that is refused becomes a rollback.
        handle.set_commit_hook(move || {
            let may = seen.transaction.compare_exchange(MAY_COMMIT, COMMITTED, SeqCst, SeqCst);
            may.is_ok()
        });
        let seen = Arc::clone(&self.0);
        handle.set_rollback_hook(move || seen.transaction.store(ROLLED_BACK, SeqCst));
        self.0.transaction.store(NONE, SeqCst);
        self.0.spoilt.store(false, SeqCst);
        Ok(())
    }

    fn is_sound(&self, connection: &SqliteConnection) -> bool {
        !connection.is_in_transaction() && !self.is_spoilt()
    }

    /// The connection is replaced before it is used again.
    pub(super) fn spoil(&self) {
        self.0.spoilt.store(true, SeqCst);
    }

    /// Whether the connection waits to be replaced.
    pub(super) fn is_spoilt(&self) -> bool {
        self.0.spoilt.load(SeqCst)
    }

    /// `BEGIN IMMEDIATE` has succeeded.
    pub(super) fn begun(&self) {
        self.0.transaction.store(OPEN, SeqCst);
    }

    /// Whether SQLite has rolled the transaction back, or committed it.
    pub(super) fn has_ended(&self) -> bool {
        self.0.transaction.load(SeqCst) != OPEN
    }

    /// The statement that commits comes next.
    ///
    /// # Errors
    ///
    /// When the transaction has ended already.
    pub(super) fn allow_commit(&self) -> Result<(), DbErr> {
        let open = self.0.transaction.compare_exchange(OPEN, MAY_COMMIT, SeqCst, SeqCst);
        open.map(drop).map_err(|_| rolled_back())
    }

    /// The statement that commits has succeeded.
    ///
    /// # Errors
    ///
    /// When SQLite has not committed the transaction.
    pub(super) fn check_commit(&self) -> Result<(), DbErr> {
        let committed = self.0.transaction.compare_exchange(COMMITTED, NONE, SeqCst, SeqCst);
        committed.map(drop).map_err(|_| rolled_back())
    }
}
