//! Checks of the tables and migrations of a service.

use std::{collections::BTreeSet, path::Path};

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use concord_db::{Database, migration_number, required_migration};

/// SQL that is not backward-compatible with the previous version of the program. The name
/// of such a migration states the migration that a program needs.
const CONTRACTS: [&str; 6] =
    ["DROP COLUMN", "DROP TABLE", "RENAME", "ALTER COLUMN", "ADD CONSTRAINT", "DISABLE ROW LEVEL"];

/// The names of all tables except the migrations tables.
///
/// # Panics
///
/// If a query fails.
pub async fn names(db: &Database) -> BTreeSet<String> {
    let sql = match db.engine() {
        DbBackend::Postgres => {
            "SELECT table_name::text AS name FROM information_schema.tables \
             WHERE table_schema = current_schema()"
        }
        _ => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    };
    let mut names = strings(db, sql).await;
    names.retain(|name| !name.ends_with("_migrations"));
    names
}

/// On PostgreSQL, the tables with a practice (tenant) column and without the row-level
/// security policies.
///
/// # Panics
///
/// If a query fails.
pub async fn without_row_security(db: &Database) -> BTreeSet<String> {
    if db.engine() != DbBackend::Postgres {
        return BTreeSet::new();
    }
    let sql = "SELECT c.relname::text AS name FROM pg_class c \
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'practice_id' \
               WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') \
               AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND ( \
                 SELECT array_agg(p.polname::text ORDER BY p.polname) = '{practice,reading}' \
                 FROM pg_policy p WHERE p.polrelid = c.oid))";
    strings(db, sql).await
}

#[expect(clippy::unwrap_used, reason = "for tests only")]
async fn strings(db: &Database, sql: &str) -> BTreeSet<String> {
    let rows = db.reader().query_all_raw(Statement::from_string(db.engine(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get("", "name").unwrap()).collect()
}

/// Checks that the files in `folder` are the migrations `names`, in order and without gaps,
/// and that the names of incompatible migrations state the migration that a program needs;
/// see docs/upgrades.md.
///
/// `compatible` lists the numbers of migrations that look incompatible and are not: there
/// was no previous program, or they allow more than before.
///
/// # Panics
///
/// If a check fails.
#[expect(clippy::unwrap_used, reason = "for tests only")]
pub fn check_migrations(folder: &Path, names: &[String], compatible: &[u32]) {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|file| file.file_stem().is_some_and(|stem| stem != "tests"));
    let mut stems: Vec<String> =
        files.map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    stems.sort_by_key(|stem| migration_number(stem));
    assert_eq!(stems, names, "one file for each migration, listed by number");
    for (name, expected) in names.iter().zip(1..) {
        assert_eq!(migration_number(name), Some(expected), "{name}: the numbers have no gaps");
        let text = std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
        let contract = text.lines().find(|line| is_contract(line));
        match required_migration(name) {
            Some(needed) => {
                assert!(needed < expected, "{name}: the needed migration is an earlier one");
            }
            None => assert!(
                contract.is_none() || compatible.contains(&expected),
                "{name}: {contract:?} may be incompatible with the previous program; name the \
                 migration that a program needs, as in {name}_needs_{:02}",
                expected - 1
            ),
        }
    }
}

fn is_contract(line: &str) -> bool {
    let line = line.to_uppercase();
    let is_comment = line.trim_start().starts_with("//") || line.trim_start().starts_with("--");
    // The previous program does not set a new column.
    let is_required_column =
        line.contains("ADD COLUMN") && line.contains("NOT NULL") && !line.contains("DEFAULT");
    !is_comment && (is_required_column || CONTRACTS.iter().any(|words| line.contains(words)))
}
