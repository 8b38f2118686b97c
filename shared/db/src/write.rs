//! Writes: closures that run in a transaction, and are retried after a conflict.

use std::{
    future::Future,
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use concord_core::ids;
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait as _,
};

use super::{
    errors::{DbErrorKind, Outage, error_kind, outage},
    sessions::Sessions,
    tenant_scope::TenantScope,
};

/// The maximum number of attempts of a write that conflicts with other writers.
const WRITE_ATTEMPTS: u32 = 6;

/// The transaction of a write. Clones must be dropped before the closure returns.
#[derive(Clone, Debug)]
pub struct WriteTx(Arc<DatabaseTransaction>);

impl WriteTx {
    pub(super) fn new(tx: DatabaseTransaction) -> Self {
        Self(Arc::new(tx))
    }

    /// The transaction, after the closure has returned.
    ///
    /// # Errors
    ///
    /// If a clone exists.
    pub(super) fn into_sole(self) -> Result<DatabaseTransaction, DbErr> {
        Arc::try_unwrap(self.0)
            .map_err(|_| DbErr::Custom("a write kept its transaction after it returned".to_owned()))
    }
}

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
pub(super) enum NotCommitted<T, E> {
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

/// The error of a write that panicked. The panic message may hold a value of a record, and
/// is not included.
pub(super) fn panicked() -> DbErr {
    DbErr::Custom("a write panicked".to_owned())
}

/// Why the database failed a write.
pub(super) fn outage_of(error: &impl WriteError) -> Option<Outage> {
    error.database().and_then(outage)
}

/// Runs `job` in a transaction of a connection of `pool`, and retries it after a conflict, or
/// if the connection was read-only and a new one is not.
pub(super) async fn write_with_retries<T, E, F, Fut>(
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
                let backoff = u64::from(attempt) * 7 + u64::from(ids::random_byte() % 11);
                tokio::time::sleep(Duration::from_millis(backoff)).await;
            }
            outcome => return outcome,
        }
    }
    Err(DbErr::Custom("unreachable: the loop returns".to_owned()).into())
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
    let tx = WriteTx::new(begin(pool).await?);
    scope.apply(&tx).await?;
    let outcome = job(tx.clone()).await;
    let tx = tx.into_sole()?;
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
pub(super) async fn begin(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    connection.begin_with_options(options).await
}
