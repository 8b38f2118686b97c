//! Checks of the tables and migrations of a service.

use std::{collections::BTreeSet, path::Path};

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use concord_db::{
    Database, MigratorTrait, Schema, TenantScope, migration_number, required_migration,
};

use crate::TestDb;

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

/// Checks that the migrations are those in `src/migrations` of the `package`, in order and
/// without gaps, and that the names of incompatible migrations state the migration that a
/// program needs; see CONTRIBUTING.md.
///
/// `compatible` lists the numbers of migrations that look incompatible and are not: there
/// was no previous program, or they allow more than before.
///
/// # Panics
///
/// If a check fails.
#[expect(clippy::unwrap_used, reason = "for tests only")]
pub fn check_migrations<M: MigratorTrait>(package: &str, compatible: &[u32]) {
    let names: Vec<String> = M::migrations().iter().map(|one| one.name().to_owned()).collect();
    let folder = Path::new(package).join("src/migrations");
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
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

/// Checks that every table is listed for the grants, and that every table with a practice
/// has row-level security.
///
/// # Panics
///
/// If a check fails.
#[expect(clippy::unwrap_used, reason = "for tests only")]
pub async fn check_tables<M: MigratorTrait>(t: &TestDb, schema: &Schema) {
    let db = t.database().await;
    db.migrate::<M>().await.unwrap();
    assert_eq!(without_row_security(&db).await, BTreeSet::new());
    let listed: BTreeSet<String> = schema.tables.iter().map(|&table| table.to_owned()).collect();
    assert_eq!(names(&db).await, listed);
}

/// Checks that a role without ownership cannot migrate the schema, and can use it after a
/// grant.
///
/// # Panics
///
/// If a check fails.
#[expect(clippy::unwrap_used, reason = "for tests only")]
pub async fn check_grants<M: MigratorTrait>(t: &TestDb, schema: &Schema) {
    let Some((user, settings)) = t.other_role() else {
        let error = schema.migrate::<M>(t.settings(), Some("concord")).await.unwrap_err();
        assert!(error.to_string().contains("leave --grant-to out"), "{error}");
        return;
    };
    let error = schema.migrate::<M>(settings.clone(), None).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    schema.migrate::<M>(t.settings(), Some(user)).await.unwrap();
    // A schema that is up to date is not changed, with and without `to_migrate`.
    for to_migrate in [true, false] {
        let db = schema.open::<M>(settings.clone(), to_migrate).await.unwrap();
        assert!(without_row_security(&db).await.is_empty());
        db.close().await.unwrap();
    }
}

/// Checks that a schema opens if it is up to date or ahead and compatible, and does not if it
/// is behind, or ahead and incompatible.
///
/// # Panics
///
/// If a check fails.
#[expect(clippy::unwrap_used, reason = "for tests only")]
pub async fn check_compatibility<M: MigratorTrait>(t: &TestDb, schema: &Schema) {
    let open = || schema.open::<M>(t.settings(), false);
    let error = open().await.unwrap_err().to_string();
    assert!(error.contains("is behind this program"), "{error}");
    assert!(error.contains("run `concord migrate`"), "{error}");
    schema.migrate::<M>(t.settings(), None).await.unwrap();
    open().await.unwrap();

    record_migration::<M>(t, "m20990101_90_nickname").await;
    open().await.unwrap();
    schema.migrate::<M>(t.settings(), None).await.unwrap();
    let incompatible = "m20990301_91_drop_emails_needs_90";
    record_migration::<M>(t, incompatible).await;
    let error = open().await.unwrap_err().to_string();
    assert!(error.contains("is ahead of this program"), "{error}");
    let error = schema.migrate::<M>(t.settings(), None).await.unwrap_err().to_string();
    assert!(error.contains(incompatible), "{error}");
}

/// Records a migration as applied, as a newer program does.
#[expect(clippy::unwrap_used, reason = "for tests only")]
async fn record_migration<M: MigratorTrait>(t: &TestDb, name: &str) {
    let db = t.database().await;
    let table = M::migration_table_name().to_string();
    let sql = format!("INSERT INTO {table} (version, applied_at) VALUES ('{name}', 0)");
    let written = db.write(TenantScope::AllPractices, move |tx| {
        let sql = sql.clone();
        async move { tx.execute_unprepared(&sql).await.map(drop) }
    });
    written.await.unwrap();
}

fn is_contract(line: &str) -> bool {
    let line = line.to_uppercase();
    let is_comment = line.trim_start().starts_with("//") || line.trim_start().starts_with("--");
    // The previous program does not set a new column.
    let is_required_column =
        line.contains("ADD COLUMN") && line.contains("NOT NULL") && !line.contains("DEFAULT");
    !is_comment && (is_required_column || CONTRACTS.iter().any(|words| line.contains(words)))
}
