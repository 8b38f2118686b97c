//! The database of a service: SQLite, embedded, or PostgreSQL.
//!
//! Reads go to [`Database::reader`]; every write is a closure that
//! [`Database::write`] runs in a transaction of its own. The closure may run
//! more than once, and on SQLite several of them share one flush to disk, so it
//! must do nothing but talk to the database.

mod bulk;
mod connect;
mod erasure;
mod errors;
mod fitness;
mod group;
mod learning;
mod lineage;
mod lists;
mod migrate;
mod probe;
mod room;
mod scope;
mod sessions;
mod tables;
mod trouble;
mod url;
mod usage;
mod witness;
mod writes;

use std::{
    fmt,
    future::Future,
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

pub use bulk::{chunk_rows, insert_all};
pub use connect::{DatabaseSettings, Timeouts};
use erasure::Erasure;
pub use errors::{Fault, Outage, Plain, UniqueKey, fault, outage, plainly, violates};
pub use fitness::Unfit;
use group::GroupWriter;
pub use learning::learning;
pub use lineage::{Lineage, TablesError, needs, number};
pub use lists::{Column, Parameters, chosen, hex_of, names, none_of, pad, parts};
pub use probe::Probe;
pub use room::leave_room;
pub use scope::{Scope, row_security};
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait;
use sessions::Sessions;
pub use tables::Tables;
use tokio::sync::watch;
use tracing::Instrument as _;
use trouble::Trouble;
pub use url::UrlError;
pub use usage::PoolUse;
pub use writes::{Writes, columns_of, values_of};

/// How often a write is tried before the caller is told of the conflict.
const WRITE_ATTEMPTS: u32 = 6;

/// A handle to one service's database; cheap to clone.
#[derive(Clone)]
pub struct Database {
    reader: DatabaseConnection,
    writer: Writer,
    url_kind: DbBackend,
    /// Of PostgreSQL.
    sessions: Sessions,
    trouble: Trouble,
    /// Of SQLite.
    erasure: Erasure,
}

#[derive(Clone)]
enum Writer {
    /// PostgreSQL: each write has a transaction of its own.
    Pool(DatabaseConnection),
    /// SQLite: one connection, whose waiting writes share a transaction.
    Group(Arc<GroupWriter>),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("engine", &self.url_kind).finish_non_exhaustive()
    }
}

/// The transaction of a write. A clone must not outlive the closure.
#[derive(Clone, Debug)]
pub struct WriteTx(Arc<DatabaseTransaction>);

impl Deref for WriteTx {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.0
    }
}

/// What a write can fail with.
pub trait WriteError: From<DbErr> + Send + 'static {
    /// The error of the database, when it is one.
    fn database(&self) -> Option<&DbErr>;

    /// Whether the same write may succeed when it is tried again at once:
    /// another writer was in the way.
    fn is_conflict(&self) -> bool {
        self.database().is_some_and(|error| fault(error) == Fault::Conflict)
    }
}

impl WriteError for DbErr {
    fn database(&self) -> Option<&DbErr> {
        Some(self)
    }
}

impl Database {
    /// Connects, and creates the file of an SQLite database that is not there.
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, DbErr> {
        let sessions = Sessions::default();
        let (reader, writer) = connect::connect(settings, &sessions).await?;
        let url_kind = reader.get_database_backend();
        let (trouble, erasure) = (Trouble::default(), Erasure::default());
        Ok(Self { reader, writer, url_kind, sessions, trouble, erasure })
    }

    /// Where to read. Never write here: SQLite refuses it, and on PostgreSQL there
    /// is no row that could be written.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// Which engine this is.
    pub fn engine(&self) -> DbBackend {
        self.url_kind
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.reader.ping().await
    }

    /// Asks whether the database answers, now and then.
    pub fn probe(&self) -> Probe {
        Probe::new(self.reader.clone(), self.sessions.clone(), self.trouble.clone())
    }

    /// Why the database does not take writes, as far as is known: it is read-only, or
    /// its disk is full. It may still answer reads.
    pub fn takes_no_writes(&self) -> Option<Outage> {
        self.trouble.now()
    }

    /// How many writes the database could not do so far, for each cause.
    pub fn failed_writes(&self) -> impl Iterator<Item = (Outage, u64)> {
        self.trouble.counts()
    }

    /// Changes whenever the open sessions of PostgreSQL become outdated, as after a
    /// failover: long-term holders of a session then return it.
    pub fn renewals(&self) -> watch::Receiver<()> {
        self.sessions.renewals()
    }

    /// How many connections are in use; on SQLite, of those that read.
    pub fn pool_use(&self) -> PoolUse {
        usage::pool_use(&self.reader)
    }

    /// Writes that wait for the one writer of SQLite.
    pub fn writes_waiting(&self) -> usize {
        match &self.writer {
            Writer::Group(group) => group.waiting(),
            Writer::Pool(_) => 0,
        }
    }

    /// Brings the tables to the newest version; the migrations that were missing.
    /// Any number of replicas may do so at once.
    ///
    /// # Errors
    ///
    /// When the tables are newer than the program in a way that it does not
    /// survive, or cannot be changed.
    pub async fn migrate<M: MigratorTrait>(&self) -> Result<Vec<String>, TablesError> {
        migrate::migrate::<M>(self).await
    }

    /// Checks that the tables are of the newest version, or of one that is newer
    /// than the program and that it survives.
    ///
    /// # Errors
    ///
    /// When they are not.
    pub async fn check_tables<M: MigratorTrait>(&self) -> Result<(), TablesError> {
        migrate::check::<M>(&self.reader).await
    }

    /// Lets a role of PostgreSQL read and write `tables`, without owning them.
    pub async fn grant_to<M: MigratorTrait>(
        &self,
        role: &str,
        tables: &[&str],
    ) -> Result<(), DbErr> {
        if self.url_kind != DbBackend::Postgres {
            let message = "SQLite knows no roles to grant rights to: leave --grant-to out";
            return Err(DbErr::Custom(message.to_owned()));
        }
        migrate::grant::<M>(self, role, tables).await
    }

    /// Checks that the server is one that a service can work on.
    ///
    /// # Errors
    ///
    /// When it is not, with the remedy; or it cannot be asked.
    pub async fn check_server(&self) -> Result<(), TablesError> {
        match fitness::unfit(&self.reader).await? {
            Some(unfit) => Err(unfit.into()),
            None => Ok(()),
        }
    }

    /// Rewrites an SQLite file that was written without `secure_delete`, once: its free
    /// pages may hold what was erased. When that fails, as for lack of room, the log says
    /// so, and the next start tries again.
    pub async fn rewrite_once(&self) {
        if self.url_kind != DbBackend::Sqlite {
            return;
        }
        if let Err(error) = erasure::rewrite_once(&self.reader).await {
            tracing::warn!(
                error = %plainly(&error),
                "the database file could not be rewritten: its free pages may hold erased data; \
                 the next start tries again (docs/upgrades.md)"
            );
        }
    }

    /// Notes that personal data was erased, by a write that is committed: SQLite keeps
    /// earlier versions of its pages in the write-ahead log until
    /// [`finish_erasure`](Self::finish_erasure).
    pub fn erased(&self) {
        self.erasure.ask();
    }

    /// Waits until [`erased`](Self::erased) is called.
    pub async fn erasure(&self) {
        self.erasure.asked().await;
    }

    /// Removes from the write-ahead log of SQLite what was erased; whether nothing of it
    /// is left. A reader, or a writer, may be in the way: then it is to be called again.
    pub async fn finish_erasure(&self) -> Result<bool, DbErr> {
        match self.writer {
            Writer::Group(_) => self.erasure.finish(&self.reader).await,
            Writer::Pool(_) => Ok(true),
        }
    }

    /// Says in the log when row security does not hold for the role of this
    /// database's URL.
    pub async fn warn_without_row_security(&self) -> Result<(), DbErr> {
        if scope::is_open(&self.reader).await? {
            tracing::warn!(
                "ROW SECURITY IS OFF: the role of the database URL is a superuser or has \
                 BYPASSRLS, and the second fence between practices does not hold; run the service \
                 as a plain role (docs/databases.md)"
            );
        }
        Ok(())
    }

    /// Lets the database look at what was written just now, by a function that
    /// [`learning`] made. It goes without, too, and says so in the log.
    pub async fn learn(&self, function: &str) {
        // Not on SQLite, whose plans ask for no such knowledge.
        let Writer::Pool(pool) = &self.writer else { return };
        if let Err(error) = learning::learn(pool, function).await {
            tracing::warn!(function, error = %plainly(&error), "nothing was learned of the tables");
        }
    }

    /// Runs `job` in a transaction, and commits it when the answer is `Ok`. On
    /// PostgreSQL it sees and changes the rows of `scope`, and no others.
    ///
    /// A conflict with another writer runs `job` again, a few times. The
    /// transaction goes on when the caller's future is dropped, so that a
    /// caller who goes away cannot leave half of it behind.
    pub async fn write<T, E, F, Fut>(&self, scope: impl Into<Scope>, job: F) -> Result<T, E>
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
            self.trouble.failed(outage);
        }
        outcome
    }

    /// Waits for writes under way and closes all connections.
    pub async fn close(self) -> Result<(), DbErr> {
        match self.writer {
            Writer::Pool(pool) => pool.close().await?,
            Writer::Group(group) => group.close().await?,
        }
        self.reader.close().await
    }
}

/// What a panic says may be a value of a record: it is left out.
fn panicked() -> DbErr {
    DbErr::Custom("a write panicked".to_owned())
}

/// Why the database could not do a write.
fn outage_of(error: &impl WriteError) -> Option<Outage> {
    error.database().and_then(outage)
}

async fn write_with_retries<T, E, F, Fut>(
    pool: &DatabaseConnection,
    sessions: &Sessions,
    scope: &Scope,
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
                // Spread out, or the same writers meet again.
                let spread = u64::from(attempt) * 7 + u64::from(ids_entropy() % 11);
                tokio::time::sleep(Duration::from_millis(spread)).await;
            }
            outcome => return outcome,
        }
    }
    Err(DbErr::Custom("unreachable: the loop returns".to_owned()).into())
}

/// A few bits that differ between replicas: the tail of a fresh UUID.
fn ids_entropy() -> u8 {
    crate::ids::new_uuid().as_bytes().last().copied().unwrap_or_default()
}

async fn write_once<T, E, F, Fut>(pool: &DatabaseConnection, scope: &Scope, job: &F) -> Result<T, E>
where
    E: WriteError,
    F: Fn(WriteTx) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let tx = WriteTx(Arc::new(begin(pool).await?));
    scope.enter(&tx).await?;
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

/// Begins a write transaction. On SQLite it takes the write lock at once: a
/// transaction that reads first and writes then would be refused.
async fn begin(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    connection.begin_with_options(options).await
}

fn sole(tx: WriteTx) -> Result<DatabaseTransaction, DbErr> {
    Arc::try_unwrap(tx.0)
        .map_err(|_| DbErr::Custom("a write kept its transaction after its end".to_owned()))
}

#[cfg(test)]
mod tests;
