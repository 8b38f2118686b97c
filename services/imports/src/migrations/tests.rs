//! Checks rules that all tables and migrations must follow.

use std::{collections::BTreeSet, path::Path};

use concord_db::TenantScope;
use concord_testing::{TestDb, storage_tests, tables};

use super::*;

storage_tests! {
    every_tenant_table_has_row_security,
    every_table_is_granted,
    role_without_ownership_can_use_the_tables,
    compatible_newer_schema_opens_older_one_does_not,
}

#[test]
fn migrations_are_ordered_and_backward_compatible() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/migrations");
    let names = Migrator::migrations();
    let names: Vec<String> = names.iter().map(|one| one.name().to_owned()).collect();
    tables::check_migrations(&folder, &names, &[]);
}

async fn every_tenant_table_has_row_security(t: TestDb) {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    assert_eq!(tables::without_row_security(&db).await, BTreeSet::new());
}

async fn every_table_is_granted(t: TestDb) {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    let listed: BTreeSet<String> = TABLES.iter().map(|table| (*table).to_owned()).collect();
    assert_eq!(tables::names(&db).await, listed);
}

async fn role_without_ownership_can_use_the_tables(t: TestDb) {
    let Some((user, settings)) = t.other_role() else {
        let refused = crate::migrate(t.settings(), Some("concord")).await.unwrap_err();
        assert!(refused.to_string().contains("leave --grant-to out"), "{refused}");
        return;
    };
    let refused = crate::migrate(settings.clone(), None).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    crate::migrate(t.settings(), Some(user)).await.unwrap();
    // A schema that is up to date is not changed, with and without `migrate`.
    for to_migrate in [true, false] {
        let db = crate::schema::open(settings.clone(), to_migrate).await.unwrap();
        assert!(tables::without_row_security(&db).await.is_empty());
        db.close().await.unwrap();
    }
}

async fn compatible_newer_schema_opens_older_one_does_not(t: TestDb) {
    let open = || crate::schema::open(t.settings(), false);
    let refused = open().await.unwrap_err().to_string();
    assert!(refused.contains("is behind this program"), "{refused}");
    assert!(refused.contains("run `concord migrate`"), "{refused}");
    crate::migrate(t.settings(), None).await.unwrap();
    open().await.unwrap();

    let newer = NEWER_MIGRATIONS;
    record_migration(&t, newer.0).await;
    open().await.unwrap();
    crate::migrate(t.settings(), None).await.unwrap();
    record_migration(&t, newer.1).await;
    let refused = open().await.unwrap_err().to_string();
    assert!(refused.contains("is ahead of this program"), "{refused}");
    let refused = crate::migrate(t.settings(), None).await.unwrap_err().to_string();
    assert!(refused.contains(newer.1), "{refused}");
}

/// A backward-compatible migration, and one that needs a newer program.
const NEWER_MIGRATIONS: (&str, &str) =
    ("m20990101_90_nickname", "m20990301_91_drop_emails_needs_90");

async fn record_migration(t: &TestDb, migration: &'static str) {
    let db = t.database().await;
    let table = Migrator::migration_table_name().to_string();
    let sql = format!("INSERT INTO {table} (version, applied_at) VALUES ('{migration}', 0)");
    let written = db.write(TenantScope::AllPractices, move |tx| {
        let sql = sql.clone();
        async move { tx.execute_unprepared(&sql).await.map(drop) }
    });
    written.await.unwrap();
}
