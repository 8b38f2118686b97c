//! Connection pools of both engines, with their settings.

use std::{fmt, fs, io, path::Path, sync::Arc, time::Duration};

use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr, RuntimeErr,
    Statement,
    sqlx::{
        self, Connection as _, Executor as _, PgConnection, Postgres,
        pool::PoolOptions,
        postgres::PgConnectOptions,
        sqlite::{SqliteJournalMode, SqliteSynchronous},
    },
};

use super::{
    errors::{DbErrorKind, error_kind},
    group_commit::GroupWriter,
    sessions::Sessions,
    tenant_scope::DEFAULT_SETTING,
    transaction_monitor::TransactionMonitor,
    url::{DatabaseUrl, Target, UrlError},
};

/// The number of read connections of SQLite.
const SQLITE_READERS: u32 = 4;

/// The page cache of the writer of SQLite, in KiB. It holds the pages that a chunk of an
/// import changes; a smaller one would spill them within the transaction.
const WRITER_CACHE: u32 = 32 * 1_024;

/// The number of pages of 4 KiB in the write-ahead log of SQLite before a checkpoint, which
/// writes a page that has changed repeatedly only once.
const CHECKPOINT_PAGES: u32 = 4_000;

/// The page cache of each reader of SQLite, in KiB.
const READER_CACHE: u32 = 8 * 1_024;

/// The idle time after which a pooled connection is tested before use. If an untested one
/// is broken, one call fails with a retryable error.
const TESTED_AFTER: Duration = Duration::from_secs(1);

/// The timeouts of a database. A call that exceeds one fails with a retryable error.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Of acquiring or opening a connection.
    pub acquire: Duration,
    /// Of a statement, on PostgreSQL. Limits handlers that outlive their caller.
    pub statement: Duration,
    /// Of waiting for a lock of another transaction, on PostgreSQL.
    pub lock: Duration,
    /// Of an idle transaction, on PostgreSQL. Releases the locks of a replica that hangs or
    /// is partitioned.
    pub idle_in_transaction: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            acquire: Duration::from_secs(10),
            statement: Duration::from_mins(1),
            lock: Duration::from_secs(20),
            idle_in_transaction: Duration::from_secs(30),
        }
    }
}

/// The prefix of `application_name` on PostgreSQL, before the name of the service. It
/// identifies our sessions in `pg_stat_activity`.
const APPLICATION: &str = "concord";

/// The settings of a database.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    url: DatabaseUrl,
    schema: Option<String>,
    max_connections: u32,
    timeouts: Timeouts,
    service: Option<&'static str>,
    observer: Option<Observer>,
}

#[derive(Clone)]
struct Observer(Arc<dyn Fn(&Statement) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl DatabaseSettings {
    /// A `postgres://` URL, or `sqlite:` with the path of a file.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: DatabaseUrl::new(url.into()),
            schema: None,
            max_connections: 10,
            timeouts: Timeouts::default(),
            service: None,
            observer: None,
        }
    }

    /// Checks that the URL can be parsed.
    ///
    /// # Errors
    ///
    /// If it cannot. The error does not quote the URL.
    pub fn check_url(&self) -> Result<(), UrlError> {
        self.url.parse().map(drop)
    }

    /// Sets the timeouts.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets the service, whose name and version are part of `application_name` on PostgreSQL.
    #[must_use]
    pub fn of_service(mut self, name: &'static str) -> Self {
        self.service = Some(name);
        self
    }

    /// Sets the maximum number of connections to PostgreSQL; 10 by default.
    #[must_use]
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets the PostgreSQL schema, which precedes `public` in the search path.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Calls `observer` with each statement after its execution. For benchmarks only: the
    /// values of a statement may be personal data.
    #[must_use]
    pub fn observed(mut self, observer: impl Fn(&Statement) + Send + Sync + 'static) -> Self {
        self.observer = Some(Observer(Arc::new(observer)));
        self
    }
}

/// How the writes of a database run.
#[derive(Clone)]
pub(super) enum Writer {
    /// PostgreSQL: a pool; each write has a transaction of its own.
    Pool(DatabaseConnection),
    /// SQLite: one connection with group commit.
    Group(Arc<GroupWriter>),
}

/// Opens the connections for reads and for writes. On PostgreSQL `sessions` decides which
/// pooled sessions are reused.
pub(super) async fn connect(
    settings: &DatabaseSettings,
    sessions: &Sessions,
) -> Result<(DatabaseConnection, Writer), DbErr> {
    let observe = |connection: &mut DatabaseConnection| {
        if let Some(Observer(observer)) = settings.observer.clone() {
            connection.set_metric_callback(move |done| observer(done.statement));
        }
    };
    let target = settings.url.parse();
    let target =
        target.map_err(|error| DbErr::Custom(format!("the URL of the database: {error}")))?;
    let path = match target {
        Target::File(path) => path,
        Target::Server(server) => {
            let mut pool = postgres(settings, *server, sessions).await?;
            observe(&mut pool);
            return Ok((pool.clone(), Writer::Pool(pool)));
        }
    };
    let monitor = TransactionMonitor::default();
    let (mut reader, mut writer) = sqlite(path, settings.timeouts.acquire, &monitor).await?;
    observe(&mut reader);
    observe(&mut writer);
    Ok((reader, Writer::Group(Arc::new(GroupWriter::start(writer, monitor)))))
}

async fn postgres(
    settings: &DatabaseSettings,
    server: PgConnectOptions,
    sessions: &Sessions,
) -> Result<DatabaseConnection, DbErr> {
    for parameter in settings.url.unknown_parameters() {
        tracing::warn!(parameter, "unknown parameter in a database URL is ignored");
    }
    let server = server
        .application_name(&application(settings.service))
        // Poolers accept few startup parameters. This one is for floating-point numbers as
        // text, which are not used.
        .extra_float_digits(None);
    let set_up: Arc<str> = session(settings).into();
    let direct = server.clone();
    // SeaORM does not get the URL, because it would quote it in errors.
    let mut options = common("postgres://", settings.timeouts.acquire);
    options
        .max_connections(settings.max_connections)
        .min_connections(1)
        .map_sqlx_postgres_opts(move |_| server.clone())
        .map_sqlx_postgres_pool_opts(move |pool: PoolOptions<Postgres>| {
            let set_up = Arc::clone(&set_up);
            pool.after_connect(move |connection, _| {
                let set_up = Arc::clone(&set_up);
                Box::pin(
                    async move { connection.execute(sqlx::AssertSqlSafe(set_up)).await.map(drop) },
                )
            })
        });
    sessions.guard(&mut options);
    match Database::connect(options).await {
        // A pool retries until its timeout and does not report the cause.
        Err(timed_out) => {
            let time = settings.timeouts.acquire;
            match tokio::time::timeout(time, PgConnection::connect_with(&direct)).await {
                Ok(Err(cause)) => Err(DbErr::Conn(RuntimeErr::SqlxError(cause.into()))),
                Ok(Ok(connection)) => {
                    connection.close().await.ok();
                    Err(timed_out)
                }
                Err(_) => Err(timed_out),
            }
        }
        connected => connected,
    }
}

/// The statements that set up a session, sent in one round trip. Startup parameters would
/// be rejected or dropped by poolers.
fn session(settings: &DatabaseSettings) -> String {
    let Timeouts { statement, lock, idle_in_transaction, .. } = settings.timeouts;
    let values = [
        // Required by the feed, whatever the server's default: a statement sees the rows
        // that were committed while it waited for a lock.
        ("default_transaction_isolation", "read committed".to_owned()),
        ("statement_timeout", milliseconds(statement)),
        ("lock_timeout", milliseconds(lock)),
        ("idle_in_transaction_session_timeout", milliseconds(idle_in_transaction)),
        // JIT compilation takes half a second, and our statements with high estimated
        // costs are short.
        ("jit", "off".to_owned()),
        (DEFAULT_SETTING.0, DEFAULT_SETTING.1.to_owned()),
    ];
    let set = values.map(|(name, value)| format!("SET {name} = '{value}'")).join("; ");
    match &settings.schema {
        // `public` holds the operators of the btree_gist extension.
        Some(schema) => format!("{set}; SET search_path = \"{schema}\", public"),
        None => set,
    }
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}

fn application(service: Option<&str>) -> String {
    match service {
        Some(service) => format!("{APPLICATION} {service} {}", env!("CARGO_PKG_VERSION")),
        None => APPLICATION.to_owned(),
    }
}

async fn sqlite(
    path: &str,
    acquire: Duration,
    monitor: &TransactionMonitor,
) -> Result<(DatabaseConnection, DatabaseConnection), DbErr> {
    create_private(Path::new(path))
        .map_err(|error| DbErr::Custom(format!("cannot create {path}: {error}")))?;
    let url = format!("sqlite://{path}");
    let mut writing = common(&url, acquire);
    writing.max_connections(1).idle_timeout(None).max_lifetime(None).map_sqlx_sqlite_opts(
        |options| {
            options
                .journal_mode(SqliteJournalMode::Wal)
                // Full: an acknowledged write survives a power failure.
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(5))
                .pragma("cache_size", kibibytes(WRITER_CACHE))
                // Statement journals are kept in memory: a long statement would write them
                // to a file.
                .pragma("temp_store", "MEMORY")
                .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
                // Overwrites deleted data with zeros, also in pages that become free, which
                // `FAST` does not.
                .pragma("secure_delete", "ON")
        },
    );
    monitor.attach(&mut writing);
    let writer = connect_with_retries(writing).await?;
    // Creates the files of the write-ahead log before the first reader connects.
    writer.execute_unprepared("SELECT 1").await?;
    let mut reading = common(&url, acquire);
    reading
        .max_connections(SQLITE_READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .map_sqlx_sqlite_opts(|options| {
            options
                .busy_timeout(Duration::from_secs(5))
                .pragma("query_only", "ON")
                .pragma("cache_size", kibibytes(READER_CACHE))
        });
    Ok((connect_with_retries(reading).await?, writer))
}

/// The value of `cache_size` for a size in KiB; a positive value would be a number of pages.
fn kibibytes(size: u32) -> String {
    format!("-{size}")
}

/// Connects to an SQLite file, with retries for up to two seconds. While another connection
/// creates the write-ahead log of a new file, SQLite fails at once, whatever its busy
/// timeout.
async fn connect_with_retries(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    for _ in 0..40 {
        match Database::connect(options.clone()).await {
            Err(error) if error_kind(&error) == DbErrorKind::Conflict => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            outcome => return outcome,
        }
    }
    Database::connect(options).await
}

fn common(url: &str, acquire: Duration) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    // No statements in logs or traces: they may hold personal data.
    options
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .acquire_timeout(acquire)
        .connect_timeout(acquire)
        // Not before every use: the test is a round trip, as long as a small read.
        .test_before_acquire_if_idle_for(TESTED_AFTER);
    options
}

/// Creates the file if it is missing, with permissions for its owner only. SQLite gives its
/// other files the same permissions.
fn create_private(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
