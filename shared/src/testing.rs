//! Databases for tests: each test gets one of its own, on both engines. What the
//! documentation says, to be compared with what the code does. And
//! [input that nobody would send](fuzz).

use std::{collections::BTreeMap, fs, path::Path};

pub mod fuzz;
pub mod tables;

use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use tempfile::TempDir;

use crate::{
    db::{Database, DatabaseSettings},
    ids,
};

/// The variable with the `postgres://` URL of a throw-away cluster.
pub const POSTGRES_URL: &str = "TEST_POSTGRES_URL";

/// Whom the services of tests are on PostgreSQL: row security holds for it, as it
/// does not for the superuser that made the cluster.
const ROLE: &str = "concord_test";

/// A role that owns nothing, and is given rights.
const OTHER_ROLE: &str = "concord_test_user";

/// Once for a cluster; tests that begin at the same time take turns.
const PREPARE: &str = "DO $$ BEGIN \
      PERFORM pg_advisory_xact_lock(2662674); \
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'concord_test') THEN \
        CREATE ROLE concord_test NOSUPERUSER NOBYPASSRLS; \
        CREATE ROLE concord_test_user NOSUPERUSER NOBYPASSRLS; \
      END IF; \
      CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public; \
    END $$";

/// An empty database of one test. Gone with the value (SQLite) or with the
/// cluster (PostgreSQL).
#[derive(Debug)]
pub struct TestDb {
    url: String,
    settings: DatabaseSettings,
    /// Of an SQLite database; removed with the value.
    folder: Option<TempDir>,
    /// Of a PostgreSQL database.
    schema: Option<String>,
}

impl TestDb {
    /// A file in a temporary folder.
    ///
    /// # Panics
    ///
    /// When there is no room for one.
    #[expect(clippy::unwrap_used, reason = "for tests only")]
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Self { settings: DatabaseSettings::new(&url), url, folder: Some(folder), schema: None }
    }

    /// A schema in the cluster that `TEST_POSTGRES_URL` names, and a role that owns
    /// it; none when it names nothing, which is an error where `CI` is set.
    ///
    /// # Panics
    ///
    /// When `CI` is set and `TEST_POSTGRES_URL` is not.
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

    /// A copy of an SQLite database that nothing has open, as a backup is.
    ///
    /// # Panics
    ///
    /// When it is no SQLite database, or there is no room.
    #[expect(clippy::unwrap_used, reason = "for tests only")]
    pub fn copy_of(other: &Self) -> Self {
        let copy = Self::sqlite();
        let file = |db: &Self| db.folder.as_ref().unwrap().path().join("test.db");
        std::fs::copy(file(other), file(&copy)).unwrap();
        copy
    }

    /// Whether it is on PostgreSQL, where a service may have several replicas.
    pub fn is_postgres(&self) -> bool {
        self.folder.is_none()
    }

    /// As the program takes it on its command line.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How to connect to it.
    pub fn settings(&self) -> DatabaseSettings {
        self.settings.clone()
    }

    /// A role that owns nothing in this database, and how to connect as it; none on
    /// SQLite.
    pub fn other_role(&self) -> Option<(&'static str, DatabaseSettings)> {
        let (schema, url) = (self.schema.as_ref()?, postgres_url()?);
        let settings = DatabaseSettings::new(as_role(&url, OTHER_ROLE, schema));
        Some((OTHER_ROLE, settings.max_connections(2)))
    }

    /// How to connect to a database of another service of the same test: a file
    /// beside this one on SQLite; on PostgreSQL the same one, where the tables of
    /// both services have different names.
    pub fn beside(&self, name: &str) -> DatabaseSettings {
        match &self.folder {
            Some(folder) => {
                let file = folder.path().join(format!("{name}.db"));
                DatabaseSettings::new(format!("sqlite:{}", file.display()))
            }
            None => self.settings(),
        }
    }

    /// Where `mark` is: the files that hold it, with what is free in them, or the columns
    /// of PostgreSQL.
    ///
    /// # Panics
    ///
    /// When they cannot be read.
    #[expect(clippy::unwrap_used, reason = "for tests only")]
    pub async fn holding(&self, mark: &str) -> Vec<String> {
        match (&self.folder, &self.schema) {
            (Some(folder), _) => files_holding(folder.path(), mark),
            (None, Some(schema)) => {
                let settings = self.settings().max_connections(1);
                let db = Database::connect(&settings).await.unwrap();
                let found = columns_holding(&db, schema, mark).await.unwrap();
                db.close().await.unwrap();
                found
            }
            (None, None) => Vec::new(),
        }
    }

    /// A new handle, as a replica of a service has one of its own.
    ///
    /// # Panics
    ///
    /// When the database cannot be reached.
    #[expect(clippy::unwrap_used, reason = "for tests only")]
    pub async fn database(&self) -> Database {
        Database::connect(&self.settings).await.unwrap()
    }
}

/// The names of the files in a folder that hold `mark` anywhere.
///
/// # Panics
///
/// When they cannot be read.
#[expect(clippy::unwrap_used, reason = "for tests only")]
pub fn files_holding(folder: &Path, mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let holds =
            |content: Vec<u8>| content.windows(mark.len()).any(|part| part == mark.as_bytes());
        // One that is gone meanwhile holds nothing.
        if path.is_file() && fs::read(&path).is_ok_and(holds) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

async fn columns_holding(db: &Database, schema: &str, mark: &str) -> Result<Vec<String>, DbErr> {
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

/// What `TEST_POSTGRES_URL` names; none, and a word about it, when it names
/// nothing.
///
/// # Panics
///
/// When `CI` is set and `TEST_POSTGRES_URL` is not.
#[expect(clippy::print_stderr, reason = "for tests only")]
pub fn postgres_url() -> Option<String> {
    let url = std::env::var(POSTGRES_URL).ok();
    if url.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI is set, and {POSTGRES_URL} is not");
        eprintln!("not run on PostgreSQL: {POSTGRES_URL} is not set; see tests/run");
    }
    url
}

/// The table in a section of `docs/limits.md`: for the first cell of each row, the
/// number that its second cell begins with, in bytes where it is a size, and the
/// row.
///
/// # Panics
///
/// When a row has no number there.
#[expect(clippy::unwrap_used, reason = "for tests only")]
pub fn documented_limits(section: &str) -> BTreeMap<String, (u64, &'static str)> {
    let document = include_str!("../../docs/limits.md");
    let (_, rest) = document.split_once(&format!("\n## {section}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap_or_default();
    // The first two lines are the heading and the rule below it.
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (name, limit) = (cells.next().unwrap(), cells.next().unwrap());
        let mut words = limit.split(' ');
        let number: u64 = words.next().unwrap().replace(',', "").parse().unwrap();
        let unit = match words.next() {
            Some("KiB") => 1_024,
            Some("MiB") => 1_024 * 1_024,
            _ => 1,
        };
        (name.to_owned(), (number * unit, row))
    })
    .collect()
}

/// Asserts that a section of `docs/limits.md` has these limits and no others.
///
/// # Panics
///
/// When it has others.
pub fn assert_documented(section: &str, limits: &[(&str, u64)]) {
    let documented = documented_limits(section);
    let documented: BTreeMap<_, _> =
        documented.iter().map(|(name, (number, _))| (name.as_str(), *number)).collect();
    assert_eq!(documented, limits.iter().copied().collect(), "docs/limits.md, {section}");
}

/// Makes two tests of each function: one on SQLite, one on PostgreSQL.
#[macro_export]
macro_rules! storage_tests {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::testing::TestDb::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if let Some(db) = $crate::testing::TestDb::postgres().await {
                        super::$name(db).await;
                    }
                }
            )+
        }
    };
}

pub use crate::storage_tests;
