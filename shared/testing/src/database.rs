//! An empty database for each test, on both engines.

use std::{fs, path::Path};

use concord_core::ids;
use concord_db::{Database, DatabaseSettings};
use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use tempfile::TempDir;

/// Environment variable: the `postgres://` URL of a temporary cluster.
pub const POSTGRES_URL: &str = "TEST_POSTGRES_URL";

/// The PostgreSQL role of the services in tests. Row-level security applies to it, and not
/// to the superuser that created the cluster.
const ROLE: &str = "concord_test";

/// A role that owns no objects and is granted privileges.
const OTHER_ROLE: &str = "concord_test_user";

/// Prepares a cluster, once. The advisory lock serialises concurrent tests.
const PREPARE: &str = "DO $$ BEGIN \
      PERFORM pg_advisory_xact_lock(2662674); \
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'concord_test') THEN \
        CREATE ROLE concord_test NOSUPERUSER NOBYPASSRLS; \
        CREATE ROLE concord_test_user NOSUPERUSER NOBYPASSRLS; \
      END IF; \
      CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public; \
    END $$";

/// An empty database of one test. It is removed with the value (SQLite) or with the
/// cluster (PostgreSQL).
#[derive(Debug)]
pub struct TestDb {
    url: String,
    settings: DatabaseSettings,
    /// The folder of an SQLite database; removed with the value.
    folder: Option<TempDir>,
    /// The schema of a PostgreSQL database.
    schema: Option<String>,
}

impl TestDb {
    /// An SQLite file in a temporary folder.
    ///
    /// # Panics
    ///
    /// If the file cannot be created.
    #[expect(clippy::unwrap_used, reason = "for tests only")]
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Self { settings: DatabaseSettings::new(&url), url, folder: Some(folder), schema: None }
    }

    /// A schema in the cluster of `TEST_POSTGRES_URL`, and a role that owns it. `None` if the
    /// variable is not set, which is an error if `CI` is set.
    ///
    /// # Panics
    ///
    /// If `CI` is set and `TEST_POSTGRES_URL` is not.
    #[expect(clippy::unwrap_used, reason = "for tests only")]
    pub async fn postgres() -> Option<Self> {
        let url = postgres_url()?;
        let schema = format!("t{}", ids::new_uuid().as_simple());
        let settings = DatabaseSettings::new(&url).max_connections(1);
        let db = Database::connect(&settings).await.unwrap();
        for sql in [PREPARE, &format!("CREATE SCHEMA {schema} AUTHORIZATION {ROLE}")] {
            db.reader().execute_unprepared(sql).await.unwrap();
        }
        db.close().await.unwrap();
        let url = as_role(&url, ROLE, &schema);
        let settings = DatabaseSettings::new(&url).max_connections(6);
        Some(Self { url, settings, folder: None, schema: Some(schema) })
    }

    /// A copy of a closed SQLite database, such as a backup.
    ///
    /// # Panics
    ///
    /// If it is not an SQLite database, or the file cannot be written.
    #[expect(clippy::unwrap_used, reason = "for tests only")]
    pub fn copy_of(other: &Self) -> Self {
        let copy = Self::sqlite();
        let file = |db: &Self| db.folder.as_ref().unwrap().path().join("test.db");
        std::fs::copy(file(other), file(&copy)).unwrap();
        copy
    }

    /// True on PostgreSQL, where a service may have several replicas.
    pub fn is_postgres(&self) -> bool {
        self.folder.is_none()
    }

    /// The URL, in the form of the command line.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The connection settings.
    pub fn settings(&self) -> DatabaseSettings {
        self.settings.clone()
    }

    /// A role that owns no objects in this database, and its connection settings; `None` on
    /// SQLite.
    pub fn other_role(&self) -> Option<(&'static str, DatabaseSettings)> {
        let (schema, url) = (self.schema.as_ref()?, postgres_url()?);
        let settings = DatabaseSettings::new(as_role(&url, OTHER_ROLE, schema));
        Some((OTHER_ROLE, settings.max_connections(2)))
    }

    /// The connection settings of the database of another service in the same test: another
    /// file in the same folder on SQLite; the same schema on PostgreSQL, where the tables of
    /// the services have different names.
    pub fn sibling(&self, name: &str) -> DatabaseSettings {
        match &self.folder {
            Some(folder) => {
                let file = folder.path().join(format!("{name}.db"));
                DatabaseSettings::new(format!("sqlite:{}", file.display()))
            }
            None => self.settings(),
        }
    }

    /// The places that contain `mark`: the SQLite files, including their free pages, or the
    /// columns on PostgreSQL.
    ///
    /// # Panics
    ///
    /// If they cannot be read.
    #[expect(clippy::unwrap_used, reason = "for tests only")]
    pub async fn containing(&self, mark: &str) -> Vec<String> {
        match (&self.folder, &self.schema) {
            (Some(folder), _) => files_containing(folder.path(), mark),
            (None, Some(schema)) => {
                let settings = self.settings().max_connections(1);
                let db = Database::connect(&settings).await.unwrap();
                let found = columns_containing(&db, schema, mark).await.unwrap();
                db.close().await.unwrap();
                found
            }
            (None, None) => Vec::new(),
        }
    }

    /// A new handle, as each replica of a service has one.
    ///
    /// # Panics
    ///
    /// If the database cannot be reached.
    #[expect(clippy::unwrap_used, reason = "for tests only")]
    pub async fn database(&self) -> Database {
        Database::connect(&self.settings).await.unwrap()
    }
}

/// The names of the files in a folder that contain `mark`.
///
/// # Panics
///
/// If they cannot be read.
#[expect(clippy::unwrap_used, reason = "for tests only")]
pub fn files_containing(folder: &Path, mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let contains =
            |content: Vec<u8>| content.windows(mark.len()).any(|part| part == mark.as_bytes());
        // A file may be removed concurrently.
        if path.is_file() && fs::read(&path).is_ok_and(contains) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

async fn columns_containing(db: &Database, schema: &str, mark: &str) -> Result<Vec<String>, DbErr> {
    let columns = "SELECT table_name AS t, column_name AS c, data_type AS d \
        FROM information_schema.columns JOIN information_schema.tables \
          USING (table_schema, table_name) \
        WHERE table_type = 'BASE TABLE' AND table_schema = $1 \
          AND data_type IN ('text', 'bytea', 'json', 'jsonb', 'character varying', 'ARRAY')";
    let engine = db.engine();
    let columns = Statement::from_sql_and_values(engine, columns, [schema.into()]);
    let mut found = Vec::new();
    for column in db.reader().query_all_raw(columns).await? {
        let [table, column, kind] =
            ["t", "c", "d"].map(|name| column.try_get::<String>("", name).unwrap_or_default());
        let holds = match kind.as_str() {
            "bytea" => format!("position(convert_to($1, 'UTF8') IN \"{column}\") > 0"),
            _ => format!("position($1 IN \"{column}\"::text) > 0"),
        };
        let rows = format!("SELECT 1 AS n FROM \"{schema}\".\"{table}\" WHERE {holds} LIMIT 1");
        let rows = Statement::from_sql_and_values(engine, rows, [mark.into()]);
        if db.reader().query_one_raw(rows).await?.is_some() {
            found.push(format!("{table}.{column}"));
        }
    }
    Ok(found)
}

fn as_role(url: &str, role: &str, schema: &str) -> String {
    format!("{url}?options[role]={role}&options[search_path]={schema},public")
}

/// The value of `TEST_POSTGRES_URL`. `None`, with a message on stderr, if it is not set.
///
/// # Panics
///
/// If `CI` is set and `TEST_POSTGRES_URL` is not.
#[expect(clippy::print_stderr, reason = "for tests only")]
pub fn postgres_url() -> Option<String> {
    let url = std::env::var(POSTGRES_URL).ok();
    if url.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI is set, and {POSTGRES_URL} is not");
        eprintln!("not run on PostgreSQL: {POSTGRES_URL} is not set; see tests/run");
    }
    url
}

/// Defines two tests for each function: one on SQLite, one on PostgreSQL.
#[macro_export]
macro_rules! storage_tests {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::TestDb::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if let Some(db) = $crate::TestDb::postgres().await {
                        super::$name(db).await;
                    }
                }
            )+
        }
    };
}
