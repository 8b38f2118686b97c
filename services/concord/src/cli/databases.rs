//! The database URLs, the connection pool size and the database timeouts.

use std::{fmt, fs, io, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use concord_db::{DatabaseSettings, Timeouts};

use super::ServiceName;

/// The databases of the services.
#[derive(Args)]
pub(crate) struct Databases {
    /// The folder for the SQLite files
    #[arg(long, env = "CONCORD_DATA_DIR", value_name = "FOLDER", default_value = "./concord-data")]
    data_dir: PathBuf,
    /// The database of the records service, `postgres://…` or `sqlite:FILE`;
    /// records.db in the data folder without it
    #[arg(long, env = "CONCORD_RECORDS_DB", value_name = "URL", hide_env_values = true)]
    records_db: Option<String>,
    /// The database of the imports service, `postgres://…` or `sqlite:FILE`;
    /// imports.db in the data folder without it
    #[arg(long, env = "CONCORD_IMPORTS_DB", value_name = "URL", hide_env_values = true)]
    imports_db: Option<String>,
}

impl Databases {
    /// The database that was named for a service, or its file in the data folder.
    pub(crate) fn of(&self, service: ServiceName) -> anyhow::Result<DatabaseSettings> {
        let (url, file, option) = match service {
            ServiceName::Records => (&self.records_db, "records.db", "records-db"),
            ServiceName::Imports => (&self.imports_db, "imports.db", "imports-db"),
        };
        if let Some(url) = url {
            let settings = DatabaseSettings::new(url);
            // Checked here and not by clap: clap quotes an invalid value, and the URL may
            // contain a password.
            let variable = option.to_uppercase().replace('-', "_");
            settings
                .check_url()
                .with_context(|| format!("the URL in --{option} (CONCORD_{variable})"))?;
            return Ok(settings);
        }
        let folder = &self.data_dir;
        create_private(folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        Ok(DatabaseSettings::new(format!("sqlite:{}", folder.join(file).display())))
    }
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Omits the URLs: they may contain passwords.
        f.debug_struct("Databases").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

/// Creates a folder that only its owner can access: it holds personal data.
fn create_private(folder: &PathBuf) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// The pool size and the timeouts of each service on PostgreSQL.
#[derive(Args, Debug)]
pub(crate) struct DatabaseLimits {
    /// Maximum connections of each service to PostgreSQL (pool size)
    #[arg(
        long = "db-connections",
        env = "CONCORD_DB_CONNECTIONS",
        value_name = "NUMBER",
        default_value = "10",
        value_parser = clap::value_parser!(u32).range(2..=1_000)
    )]
    db_connections: u32,
    /// How long a call waits for a free connection
    #[arg(
        long = "db-acquire-timeout",
        env = "CONCORD_DB_ACQUIRE_TIMEOUT",
        value_name = "SECONDS",
        default_value = "10",
        value_parser = seconds
    )]
    acquire_timeout: Duration,
    /// How long a statement may run on PostgreSQL
    #[arg(
        long = "db-statement-timeout",
        env = "CONCORD_DB_STATEMENT_TIMEOUT",
        value_name = "SECONDS",
        default_value = "60",
        value_parser = seconds
    )]
    statement_timeout: Duration,
    /// How long a statement may wait for a lock on PostgreSQL
    #[arg(
        long = "db-lock-timeout",
        env = "CONCORD_DB_LOCK_TIMEOUT",
        value_name = "SECONDS",
        default_value = "20",
        value_parser = seconds
    )]
    lock_timeout: Duration,
    /// How long a transaction on PostgreSQL may be idle
    #[arg(
        long = "db-idle-timeout",
        env = "CONCORD_DB_IDLE_TIMEOUT",
        value_name = "SECONDS",
        default_value = "30",
        value_parser = seconds
    )]
    idle_timeout: Duration,
}

impl DatabaseLimits {
    /// Applies these limits to a database.
    pub(crate) fn on(&self, database: DatabaseSettings) -> DatabaseSettings {
        database.max_connections(self.db_connections).timeouts(Timeouts {
            acquire: self.acquire_timeout,
            statement: self.statement_timeout,
            lock: self.lock_timeout,
            idle_in_transaction: self.idle_timeout,
        })
    }
}

/// Parses a timeout. At least one second: to PostgreSQL, 0 means no limit.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("write a whole number of seconds, from 1 to 86400"),
    }
}
