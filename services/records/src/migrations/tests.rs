//! Invariants of the tables and the migrations.

use std::{collections::BTreeSet, path::Path};

use concord_db::TenantScope;
use concord_testing::{TestDb, storage_tests, tables};

use super::*;

storage_tests! {
    every_tenant_table_has_row_level_security,
    every_table_is_listed_for_grants,
    role_without_ownership_can_use_the_tables,
    newer_compatible_schema_is_accepted_older_is_rejected,
}

#[test]
fn migrations_are_ordered_and_backward_compatible() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/migrations");
    let names = Migrator::migrations();
    let names: Vec<String> = names.iter().map(|one| one.name().to_owned()).collect();
    // The constraint of 14 allows everything that the earlier one allowed.
    tables::check_migrations(&folder, &names, &[1, 14]);
}

async fn every_tenant_table_has_row_level_security(t: TestDb) {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    assert_eq!(tables::without_row_security(&db).await, BTreeSet::new());
}

async fn every_table_is_listed_for_grants(t: TestDb) {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    let listed: BTreeSet<String> = TABLES.iter().map(|table| (*table).to_owned()).collect();
    assert_eq!(tables::names(&db).await, listed);
}

async fn role_without_ownership_can_use_the_tables(t: TestDb) {
    let Some((user, settings)) = t.other_role() else {
        let error = crate::migrate(t.settings(), Some("concord")).await.unwrap_err();
        assert!(error.to_string().contains("leave --grant-to out"), "{error}");
        return;
    };
    let error = crate::migrate(settings.clone(), None).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    crate::migrate(t.settings(), Some(user)).await.unwrap();
    // An up-to-date schema is not changed, with and without a migration.
    for to_migrate in [true, false] {
        let db = crate::schema::open(settings.clone(), to_migrate).await.unwrap();
        assert!(tables::without_row_security(&db).await.is_empty());
        db.close().await.unwrap();
    }
}

async fn newer_compatible_schema_is_accepted_older_is_rejected(t: TestDb) {
    let open = || crate::schema::open(t.settings(), false);
    let error = open().await.unwrap_err().to_string();
    assert!(error.contains("is behind this program"), "{error}");
    assert!(error.contains("run `concord migrate`"), "{error}");
    crate::migrate(t.settings(), None).await.unwrap();
    open().await.unwrap();

    let newest = FUTURE_MIGRATIONS;
    apply_future_migration(&t, newest.0).await;
    open().await.unwrap();
    crate::migrate(t.settings(), None).await.unwrap();
    apply_future_migration(&t, newest.1).await;
    let error = open().await.unwrap_err().to_string();
    assert!(error.contains("is ahead of this program"), "{error}");
    let error = crate::migrate(t.settings(), None).await.unwrap_err().to_string();
    assert!(error.contains(newest.1), "{error}");
}

/// A backward-compatible migration, and an incompatible one.
const FUTURE_MIGRATIONS: (&str, &str) =
    ("m20990101_90_nickname", "m20990301_91_drop_emails_needs_90");

async fn apply_future_migration(t: &TestDb, migration: &'static str) {
    let db = t.database().await;
    let table = Migrator::migration_table_name().to_string();
    let sql = format!("INSERT INTO {table} (version, applied_at) VALUES ('{migration}', 0)");
    let written = db.write(TenantScope::AllPractices, move |tx| {
        let sql = sql.clone();
        async move { tx.execute_unprepared(&sql).await.map(drop) }
    });
    written.await.unwrap();
}
