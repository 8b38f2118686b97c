//! Fresh databases, on SQLite and on the throw-away PostgreSQL.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::ValueEnum;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, Statement,
    sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous},
};
use serde::{Deserialize, Serialize};
use shared::db::DatabaseSettings;
use tempfile::TempDir;

use crate::{output, postgres::Cluster};

/// Where a database is: what a process of its own can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    url: String,
    /// On PostgreSQL, where all of them share a cluster.
    schema: Option<String>,
}

impl Place {
    /// For a service to connect with.
    pub(crate) fn settings(&self) -> DatabaseSettings {
        let settings = DatabaseSettings::new(&self.url);
        match &self.schema {
            Some(schema) => settings.schema(schema),
            None => settings,
        }
    }
}

/// Whom the services are on PostgreSQL. Row security, which costs something too,
/// holds for it, and not for the yardsticks, which are the superuser.
const ROLE: &str = "concord_bench";

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// A file, one writer
    Sqlite,
    /// A server, throw-away but durable
    Postgres,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// Where fresh databases come from. Gone, with all of them, with the value.
#[derive(Debug)]
pub(crate) struct Databases {
    folder: TempDir,
    cluster: Option<Cluster>,
}

impl Databases {
    /// Starts what these engines need.
    pub(crate) async fn start(engines: &[Engine]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("concord-bench.").tempdir();
        let folder = folder.context("no temporary folder can be made")?;
        let cluster = if engines.contains(&Engine::Postgres) {
            output::note("starting a throw-away PostgreSQL");
            let cluster = tokio::task::spawn_blocking(Cluster::start).await??;
            cluster.execute(&format!("CREATE ROLE {ROLE}")).await?;
            cluster.execute("CREATE EXTENSION btree_gist WITH SCHEMA public").await?;
            Some(cluster)
        } else {
            None
        };
        Ok(Self { folder, cluster })
    }

    /// A database without tables, for a service in this process. `name` may be used
    /// once.
    pub(crate) async fn fresh(
        &self,
        engine: Engine,
        name: &str,
    ) -> anyhow::Result<DatabaseSettings> {
        Ok(self.place(engine, name).await?.settings())
    }

    /// A database without tables, for a service in whatever process. `name` may be
    /// used once.
    pub(crate) async fn place(&self, engine: Engine, name: &str) -> anyhow::Result<Place> {
        match engine {
            Engine::Sqlite => {
                let file = self.folder.path().join(format!("{name}.db"));
                Ok(Place { url: format!("sqlite:{}", file.display()), schema: None })
            }
            Engine::Postgres => {
                let cluster = self.cluster()?;
                cluster.execute(&format!("CREATE SCHEMA {name} AUTHORIZATION {ROLE}")).await?;
                let url = format!("{}?options[role]={ROLE}", cluster.url());
                Ok(Place { url, schema: Some(name.to_owned()) })
            }
        }
    }

    /// Lets the engine learn what is in its tables, as PostgreSQL's housekeeping
    /// does within minutes. SQLite does not.
    pub(crate) async fn settle(&self, engine: Engine) -> anyhow::Result<()> {
        match engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => self.cluster()?.execute("VACUUM ANALYZE").await,
        }
    }

    /// Lets the engine write out what it still has to, so that it does not fall on the
    /// turn that comes next. SQLite has done so when it was closed.
    pub(crate) async fn calm(&self, engine: Engine) -> anyhow::Result<()> {
        match engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => self.cluster()?.execute("CHECKPOINT").await,
        }
    }

    /// How many bytes the database `name` takes, with its indexes.
    pub(crate) async fn size(&self, engine: Engine, name: &str) -> anyhow::Result<u64> {
        let (url, sql) = match engine {
            Engine::Sqlite => {
                let sql = "SELECT page_count * page_size AS bytes \
                           FROM pragma_page_count(), pragma_page_size()";
                (self.sqlite_url(name), sql.to_owned())
            }
            Engine::Postgres => {
                let sql = format!(
                    "SELECT SUM(pg_total_relation_size(oid))::bigint AS bytes FROM pg_class \
                     WHERE relkind = 'r' AND relnamespace = '{name}'::regnamespace"
                );
                (self.cluster()?.url(), sql)
            }
        };
        let db = sea_orm::Database::connect(url).await?;
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
        let bytes: i64 = row.context("a database without a size")?.try_get("", "bytes")?;
        db.close().await?;
        Ok(u64::try_from(bytes)?)
    }

    /// The folder of whatever is measured, on the disk of the databases.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL by which anything else than the service opens the SQLite database
    /// `name`.
    pub(crate) fn sqlite_url(&self, name: &str) -> String {
        format!("sqlite://{}", self.sqlite_file(name).display())
    }

    /// Where the SQLite database `name` is.
    pub(crate) fn sqlite_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.db"))
    }

    /// One connection to the database `name` for anything else than the service, as
    /// durable as the service has them. A statement may take as long as it likes.
    pub(crate) async fn open(
        &self,
        engine: Engine,
        name: &str,
    ) -> anyhow::Result<DatabaseConnection> {
        let mut options = match engine {
            Engine::Sqlite => ConnectOptions::new(self.sqlite_url(name)),
            Engine::Postgres => {
                let mut options = ConnectOptions::new(self.cluster()?.url());
                options.set_schema_search_path(format!("{name},public"));
                options
            }
        };
        options.max_connections(1).sqlx_logging(false).map_sqlx_sqlite_opts(|options| {
            options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(Duration::from_secs(5))
        });
        Ok(Database::connect(options).await?)
    }

    /// Removes the database `name`, which nobody uses any more: those of an import
    /// are large.
    pub(crate) async fn remove(&self, engine: Engine, name: &str) -> anyhow::Result<()> {
        match engine {
            Engine::Postgres => {
                self.cluster()?.execute(&format!("DROP SCHEMA {name} CASCADE")).await
            }
            Engine::Sqlite => {
                for file in ["db", "db-wal", "db-shm"] {
                    let file = self.folder.path().join(format!("{name}.{file}"));
                    match fs::remove_file(file) {
                        // Closed well, a database is one file.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        removed => removed?,
                    }
                }
                Ok(())
            }
        }
    }

    /// The PostgreSQL server.
    pub(crate) fn cluster(&self) -> anyhow::Result<&Cluster> {
        self.cluster.as_ref().context("PostgreSQL was not started")
    }
}
