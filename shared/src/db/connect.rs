//! Connections to both engines, with the settings that were found to be right.

use std::{fmt, fs, io, path::Path, sync::Arc, time::Duration};

use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr, Statement,
    sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous},
};

use super::{Fault, fault};

/// Readers of an SQLite database at the same time.
const SQLITE_READERS: u32 = 4;

/// How long a statement may run on PostgreSQL: a handler outlives its caller,
/// and must end all the same.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);

/// Which database, and how.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    url: String,
    schema: Option<String>,
    max_connections: u32,
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
        Self { url: url.into(), schema: None, max_connections: 10, observer: None }
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

/// Connects for reading and for writing.
pub(super) async fn connect(
    settings: &DatabaseSettings,
) -> Result<(DatabaseConnection, DatabaseConnection), DbErr> {
    let (mut reader, mut writer) = match settings.url.strip_prefix("sqlite:") {
        Some(path) => sqlite(path.trim_start_matches("//")).await?,
        None => postgres(settings).await.map(|pool| (pool.clone(), pool))?,
    };
    if let Some(Observer(observer)) = &settings.observer {
        for connection in [&mut reader, &mut writer] {
            let observer = Arc::clone(observer);
            connection.set_metric_callback(move |done| observer(done.statement));
        }
    }
    Ok((reader, writer))
}

async fn postgres(settings: &DatabaseSettings) -> Result<DatabaseConnection, DbErr> {
    let mut options = common(&settings.url);
    options
        .max_connections(settings.max_connections)
        .min_connections(1)
        // Whom a product that is connected waits for is known by it.
        .set_application_name("concord")
        .statement_timeout(STATEMENT_TIMEOUT)
        // The feed rests on it, whatever the server's default is: a statement sees
        // what was committed while it waited for a lock.
        .map_sqlx_postgres_opts(|options| {
            options.options([("default_transaction_isolation", "read committed")])
        });
    if let Some(schema) = &settings.schema {
        // `public` too: the operators of the btree_gist extension live there.
        options.set_schema_search_path(format!("{schema},public"));
    }
    Database::connect(options).await
}

async fn sqlite(path: &str) -> Result<(DatabaseConnection, DatabaseConnection), DbErr> {
    create_private(Path::new(path))
        .map_err(|error| DbErr::Custom(format!("cannot create {path}: {error}")))?;
    let url = format!("sqlite://{path}");
    let mut writing = common(&url);
    writing.max_connections(1).idle_timeout(None).max_lifetime(None).map_sqlx_sqlite_opts(
        |options| {
            options
                .journal_mode(SqliteJournalMode::Wal)
                // Full: what was answered is on disk when the power goes.
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(5))
        },
    );
    let writer = connect_in_turn(writing).await?;
    // Makes the files of the write-ahead log before the first reader comes.
    writer.execute_unprepared("SELECT 1").await?;
    let mut reading = common(&url);
    reading
        .max_connections(SQLITE_READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .map_sqlx_sqlite_opts(|options| {
            options.busy_timeout(Duration::from_secs(5)).pragma("query_only", "ON")
        });
    Ok((connect_in_turn(reading).await?, writer))
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

fn common(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    // No statements in logs or traces: they hold people's data.
    options
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .acquire_timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(10));
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
