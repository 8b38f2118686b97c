//! Where the databases are, and how long they may take.

use std::{fmt, fs, io, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Args;
use shared::db::{DatabaseSettings, Timeouts};

use super::ServiceName;

/// Where the databases are.
#[derive(Args)]
pub(crate) struct Databases {
    /// The folder of the SQLite files
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
            // Not by clap, which quotes what it refuses: it may hold a password.
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
        // Not the URLs: they may hold passwords.
        f.debug_struct("Databases").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

/// The folder holds people's data: it is for its owner only.
fn create_private(folder: &PathBuf) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// How many connections to PostgreSQL each service has, and how long they may take.
#[derive(Args, Debug)]
pub(crate) struct DatabaseLimits {
    /// Connections of each service to PostgreSQL at the same time
    #[arg(
        long = "db-connections",
        env = "CONCORD_DB_CONNECTIONS",
        value_name = "NUMBER",
        default_value = "10",
        value_parser = clap::value_parser!(u32).range(2..=1_000)
    )]
    db_connections: u32,
    /// How long a call waits for one of them to be free
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
    /// How long a transaction on PostgreSQL may do nothing
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
    /// The same database, with these limits.
    pub(crate) fn on(&self, database: DatabaseSettings) -> DatabaseSettings {
        database.max_connections(self.db_connections).timeouts(Timeouts {
            acquire: self.acquire_timeout,
            statement: self.statement_timeout,
            lock: self.lock_timeout,
            idle_in_transaction: self.idle_timeout,
        })
    }
}

/// At least one: PostgreSQL takes none for no limit at all.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("write a whole number of seconds, from 1 to 86400"),
    }
}
