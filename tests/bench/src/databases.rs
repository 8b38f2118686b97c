//! Empty databases, on SQLite and on a temporary PostgreSQL server.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::ValueEnum;
use concord_db::DatabaseSettings;
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, Statement,
    sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous},
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{output, postgres::Cluster};

/// The location of a database. Serialisable, for a service in another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DatabaseLocation {
    url: String,
    /// The schema on PostgreSQL, where all databases share a cluster.
    schema: Option<String>,
}

impl DatabaseLocation {
    /// The connection settings of a service.
    pub(crate) fn settings(&self) -> DatabaseSettings {
        let settings = DatabaseSettings::new(&self.url);
        match &self.schema {
            Some(schema) => settings.schema(schema),
            None => settings,
        }
    }
}

/// The PostgreSQL role of the services. Row-level security, which has a cost, applies to it.
/// The yardsticks connect as the superuser, to which it does not apply.
const ROLE: &str = "concord_bench";

/// A database engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// A file, one writer
    Sqlite,
    /// A temporary server with durable settings
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

/// Creates empty databases. They are removed with the value.
#[derive(Debug)]
pub(crate) struct Databases {
    folder: TempDir,
    cluster: Option<Cluster>,
}

impl Databases {
    /// Prepares the engines.
    pub(crate) async fn start(engines: &[Engine]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("concord-bench.").tempdir();
        let folder = folder.context("cannot create a temporary folder")?;
        let cluster = if engines.contains(&Engine::Postgres) {
            output::note("starting a temporary PostgreSQL server");
            let cluster = tokio::task::spawn_blocking(Cluster::start).await??;
            cluster.execute(&format!("CREATE ROLE {ROLE}")).await?;
            cluster.execute("CREATE EXTENSION btree_gist WITH SCHEMA public").await?;
            Some(cluster)
        } else {
            None
        };
        Ok(Self { folder, cluster })
    }

    /// An empty database for a service in this process. Each `name` may be used once.
    pub(crate) async fn fresh(
        &self,
        engine: Engine,
        name: &str,
    ) -> anyhow::Result<DatabaseSettings> {
        Ok(self.location(engine, name).await?.settings())
    }

    /// An empty database for a service in any process. Each `name` may be used once.
    pub(crate) async fn location(
        &self,
        engine: Engine,
        name: &str,
    ) -> anyhow::Result<DatabaseLocation> {
        match engine {
            Engine::Sqlite => {
                let file = self.folder.path().join(format!("{name}.db"));
                Ok(DatabaseLocation { url: format!("sqlite:{}", file.display()), schema: None })
            }
            Engine::Postgres => {
                let cluster = self.cluster()?;
                cluster.execute(&format!("CREATE SCHEMA {name} AUTHORIZATION {ROLE}")).await?;
                let url = format!("{}?options[role]={ROLE}", cluster.url());
                Ok(DatabaseLocation { url, schema: Some(name.to_owned()) })
            }
        }
    }

    /// Updates the planner statistics, as the autovacuum of PostgreSQL does within minutes.
    /// No effect on SQLite.
    pub(crate) async fn analyze(&self, engine: Engine) -> anyhow::Result<()> {
        match engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => self.cluster()?.execute("VACUUM ANALYZE").await,
        }
    }

    /// Writes a checkpoint, so that its cost does not affect the next turn. SQLite has written
    /// one when it was closed.
    pub(crate) async fn checkpoint(&self, engine: Engine) -> anyhow::Result<()> {
        match engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => self.cluster()?.execute("CHECKPOINT").await,
        }
    }

    /// The size of the database `name` with its indexes, in bytes.
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
        let bytes: i64 = row.context("the database has no size")?.try_get("", "bytes")?;
        db.close().await?;
        Ok(u64::try_from(bytes)?)
    }

    /// The folder of the databases.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The URL of the SQLite database `name`, for connections outside of the service.
    pub(crate) fn sqlite_url(&self, name: &str) -> String {
        format!("sqlite://{}", self.sqlite_file(name).display())
    }

    /// The file of the SQLite database `name`.
    pub(crate) fn sqlite_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.db"))
    }

    /// Opens one connection to the database `name` outside of the service, with the same
    /// durability as in the service and without a statement timeout.
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

    /// Removes the unused database `name`. The databases of an import are large.
    pub(crate) async fn remove(&self, engine: Engine, name: &str) -> anyhow::Result<()> {
        match engine {
            Engine::Postgres => {
                self.cluster()?.execute(&format!("DROP SCHEMA {name} CASCADE")).await
            }
            Engine::Sqlite => {
                for file in ["db", "db-wal", "db-shm"] {
                    let file = self.folder.path().join(format!("{name}.{file}"));
                    match fs::remove_file(file) {
                        // A closed database is one file.
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
