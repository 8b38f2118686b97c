//! Connections to both engines, with the settings that were found to be right.

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
    Fault, Writer, fault,
    group::GroupWriter,
    scope::OUTSIDE_OF_WRITES,
    sessions::Sessions,
    url::{DatabaseUrl, Named, UrlError},
    witness::Witness,
};

/// Readers of an SQLite database at the same time.
const SQLITE_READERS: u32 = 4;

/// Pages that the writer of an SQLite database keeps, in KiB: those that a chunk of
/// an import changes. Were it less, they would be written and read within it.
const WRITER_CACHE: u32 = 32 * 1_024;

/// Pages of 4 KiB in the write-ahead log of an SQLite database before they are written
/// into the file: a page that changes again and again until then is written there once.
const CHECKPOINT_PAGES: u32 = 4_000;

/// Pages that each reader of an SQLite database keeps, in KiB.
const READER_CACHE: u32 = 8 * 1_024;

/// A connection that was in use just now is not asked whether it still lives. When
/// it does not, one call is told to come back.
const TESTED_AFTER: Duration = Duration::from_secs(1);

/// How long things may take in a database. Whatever takes longer is given up, and
/// the caller told to come back.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection to be free, or made.
    pub acquire: Duration,
    /// For a statement, on PostgreSQL: a handler outlives its caller, and must end
    /// all the same.
    pub statement: Duration,
    /// For a lock that another transaction holds, on PostgreSQL.
    pub lock: Duration,
    /// For a transaction that does nothing, on PostgreSQL: of a replica that was
    /// frozen, or cut off, while it held locks.
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

/// What connections of ours are called on PostgreSQL, before the name of their
/// service: whom a product that is connected waits for is known by it.
const APPLICATION: &str = "concord";

/// Which database, and how.
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

    /// Checks that the URL can be used.
    ///
    /// # Errors
    ///
    /// When it cannot be parsed. The error does not quote it.
    pub fn check_url(&self) -> Result<(), UrlError> {
        self.url.parse().map(drop)
    }

    /// How long things may take.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The service whose connections these are: PostgreSQL lists them by its name
    /// and version.
    #[must_use]
    pub fn of_service(mut self, name: &'static str) -> Self {
        self.service = Some(name);
        self
    }

    /// Connections to PostgreSQL at the same time; 10 unless this says otherwise.
    #[must_use]
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections;
        self
    }

    /// The PostgreSQL schema to work in, beside `public`.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Shows every statement to `observer` after it has run. For measuring only:
    /// the values in a statement are people's data.
    #[must_use]
    pub fn observed(mut self, observer: impl Fn(&Statement) + Send + Sync + 'static) -> Self {
        self.observer = Some(Observer(Arc::new(observer)));
        self
    }
}

/// Connects for reading and for writing. On PostgreSQL `sessions` says which sessions
/// may be used.
pub(super) async fn connect(
    settings: &DatabaseSettings,
    sessions: &Sessions,
) -> Result<(DatabaseConnection, Writer), DbErr> {
    let observe = |connection: &mut DatabaseConnection| {
        if let Some(Observer(observer)) = settings.observer.clone() {
            connection.set_metric_callback(move |done| observer(done.statement));
        }
    };
    let named = settings.url.parse();
    let named =
        named.map_err(|error| DbErr::Custom(format!("the URL of the database: {error}")))?;
    let path = match named {
        Named::File(path) => path,
        Named::Server(server) => {
            let mut pool = postgres(settings, *server, sessions).await?;
            observe(&mut pool);
            return Ok((pool.clone(), Writer::Pool(pool)));
        }
    };
    let witness = Witness::default();
    let (mut reader, mut writer) = sqlite(path, settings.timeouts.acquire, &witness).await?;
    observe(&mut reader);
    observe(&mut writer);
    Ok((reader, Writer::Group(Arc::new(GroupWriter::start(writer, witness)))))
}

async fn postgres(
    settings: &DatabaseSettings,
    server: PgConnectOptions,
    sessions: &Sessions,
) -> Result<DatabaseConnection, DbErr> {
    for parameter in settings.url.without_effect() {
        tracing::warn!(parameter, "a parameter in the URL of a database has no effect");
    }
    let server = server
        .application_name(&application(settings.service))
        // A pooler takes few parameters at the start of a connection. This one is for
        // floating-point numbers as text, of which there are none.
        .extra_float_digits(None);
    let set_up: Arc<str> = session(settings).into();
    let direct = server.clone();
    // SeaORM does not get the URL, which it would quote in errors.
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
        // A pool tries until its time is over, and does not say why it failed.
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

/// Statements that set up a session, sent in one round trip. They are no options for
/// the start of the connection: a pooler refuses those, or drops them.
fn session(settings: &DatabaseSettings) -> String {
    let Timeouts { statement, lock, idle_in_transaction, .. } = settings.timeouts;
    let values = [
        // The feed rests on it, whatever the server's default is: a statement sees
        // what was committed while it waited for a lock.
        ("default_transaction_isolation", "read committed".to_owned()),
        ("statement_timeout", milliseconds(statement)),
        ("lock_timeout", milliseconds(lock)),
        ("idle_in_transaction_session_timeout", milliseconds(idle_in_transaction)),
        // Statements of ours that look costly are short all the same: compiling one
        // takes half a second.
        ("jit", "off".to_owned()),
        (OUTSIDE_OF_WRITES.0, OUTSIDE_OF_WRITES.1.to_owned()),
    ];
    let set = values.map(|(name, value)| format!("SET {name} = '{value}'")).join("; ");
    match &settings.schema {
        // `public` too: the operators of the btree_gist extension live there.
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
    witness: &Witness,
) -> Result<(DatabaseConnection, DatabaseConnection), DbErr> {
    create_private(Path::new(path))
        .map_err(|error| DbErr::Custom(format!("cannot create {path}: {error}")))?;
    let url = format!("sqlite://{path}");
    let mut writing = common(&url, acquire);
    writing.max_connections(1).idle_timeout(None).max_lifetime(None).map_sqlx_sqlite_opts(
        |options| {
            options
                .journal_mode(SqliteJournalMode::Wal)
                // Full: what was answered is on disk when the power goes.
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(5))
                .pragma("cache_size", kibibytes(WRITER_CACHE))
                // What a statement would undo, were it to fail half done, is kept in
                // memory: not in a file that every long statement writes.
                .pragma("temp_store", "MEMORY")
                .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
                // What is deleted or overwritten is overwritten with zeros in the file
                // too, also in pages that become free: `FAST` leaves those out.
                .pragma("secure_delete", "ON")
        },
    );
    witness.watch(&mut writing);
    let writer = connect_in_turn(writing).await?;
    // Makes the files of the write-ahead log before the first reader comes.
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
    Ok((connect_in_turn(reading).await?, writer))
}

/// A size as `cache_size` takes it: a positive one would be pages.
fn kibibytes(size: u32) -> String {
    format!("-{size}")
}

/// Connects to an SQLite file. While another connection makes the write-ahead
/// log of a new file, SQLite refuses at once, whatever its busy timeout: then it
/// is tried again, for two seconds at the most.
async fn connect_in_turn(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    for _ in 0..40 {
        match Database::connect(options.clone()).await {
            Err(error) if fault(&error) == Fault::Conflict => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            outcome => return outcome,
        }
    }
    Database::connect(options).await
}

fn common(url: &str, acquire: Duration) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    // No statements in logs or traces: they hold people's data.
    options
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .acquire_timeout(acquire)
        .connect_timeout(acquire)
        // Not before every use: it is a round trip, as much as a small read takes.
        .test_before_acquire_if_idle_for(TESTED_AFTER);
    options
}

/// Creates the file, when it is missing, so that only its owner can read it.
/// SQLite gives its other files the rights of this one.
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
