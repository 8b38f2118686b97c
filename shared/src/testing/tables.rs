//! What must hold of the tables and the migrations of either service.

use std::{collections::BTreeSet, path::Path};

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::db::{Database, needs, number};

/// What takes away, or makes impossible, what the previous version of a program
/// does. Such a migration names the one that a program has to know.
const CONTRACTS: [&str; 6] =
    ["DROP COLUMN", "DROP TABLE", "RENAME", "ALTER COLUMN", "ADD CONSTRAINT", "DISABLE ROW LEVEL"];

/// The names of all tables, those of migrations apart.
///
/// # Panics
///
/// When the database does not answer.
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

/// The tables that have a practice and, on PostgreSQL, no fence around it.
///
/// # Panics
///
/// When the database does not answer.
pub async fn unsecured(db: &Database) -> BTreeSet<String> {
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

/// Checks that the files in `folder` are the migrations called `names`, in order
/// and without a hole, and that those which the previous program does not survive
/// say so in their names; see docs/upgrades.md.
///
/// `compatible` are numbers of migrations that look incompatible and are not: there was
/// no previous program, or they allow more than before.
///
/// # Panics
///
/// When something is wrong with them.
#[expect(clippy::unwrap_used, reason = "for tests only")]
pub fn check_migrations(folder: &Path, names: &[String], compatible: &[u32]) {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|file| file.file_stem().is_some_and(|stem| stem != "tests"));
    let mut stems: Vec<String> =
        files.map(|file| file.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    stems.sort_by_key(|stem| number(stem));
    assert_eq!(stems, names, "a file for each migration, listed in the order of its number");
    for (name, expected) in names.iter().zip(1..) {
        assert_eq!(number(name), Some(expected), "{name}: the numbers have no hole");
        let text = std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
        let contract = text.lines().find(|line| is_contract(line));
        match needs(name) {
            Some(needed) => assert!(needed < expected, "{name}: it needs a migration before it"),
            None => assert!(
                contract.is_none() || compatible.contains(&expected),
                "{name}: the previous program may not survive {contract:?}; name the migration \
                 that a program has to know, as in {name}_needs_{:02}",
                expected - 1
            ),
        }
    }
}

fn is_contract(line: &str) -> bool {
    let line = line.to_uppercase();
    let is_comment = line.trim_start().starts_with("//") || line.trim_start().starts_with("--");
    // The previous program leaves a column out that it does not know.
    let has_to_be_given =
        line.contains("ADD COLUMN") && line.contains("NOT NULL") && !line.contains("DEFAULT");
    !is_comment && (has_to_be_given || CONTRACTS.iter().any(|words| line.contains(words)))
}
