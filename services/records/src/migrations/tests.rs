//! What must hold of the tables and their migrations, so that none is forgotten.

use std::{collections::BTreeSet, path::Path};

use shared::{
    db::Scope,
    testing::{TestDb, storage_tests, tables},
};

use super::*;

storage_tests! {
    every_table_of_practices_has_row_security,
    every_table_is_one_that_rights_are_given_to,
    whoever_may_use_the_tables_need_not_own_them,
    newer_tables_are_borne_and_older_ones_are_not,
}

#[test]
fn migrations_are_listed_in_order_and_survived_by_the_previous_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/migrations");
    let names = Migrator::migrations();
    let names: Vec<String> = names.iter().map(|one| one.name().to_owned()).collect();
    // The constraint of 14 allows all that the one before it allowed.
    tables::check_migrations(&folder, &names, &[1, 14]);
}

async fn every_table_of_practices_has_row_security(t: TestDb) {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    assert_eq!(tables::unsecured(&db).await, BTreeSet::new());
}

async fn every_table_is_one_that_rights_are_given_to(t: TestDb) {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    let listed: BTreeSet<String> = TABLES.iter().map(|table| (*table).to_owned()).collect();
    assert_eq!(tables::names(&db).await, listed);
}

async fn whoever_may_use_the_tables_need_not_own_them(t: TestDb) {
    let Some((user, settings)) = t.other_role() else {
        let refused = crate::migrate(t.settings(), Some("concord")).await.unwrap_err();
        assert!(refused.to_string().contains("leave --grant-to out"), "{refused}");
        return;
    };
    let refused = crate::migrate(settings.clone(), None).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    crate::migrate(t.settings(), Some(user)).await.unwrap();
    // Up to date, it is left alone, whether it was asked to be or not.
    for to_migrate in [true, false] {
        let db = crate::tables::open(settings.clone(), to_migrate).await.unwrap();
        assert!(tables::unsecured(&db).await.is_empty());
        db.close().await.unwrap();
    }
}

async fn newer_tables_are_borne_and_older_ones_are_not(t: TestDb) {
    let open = || crate::tables::open(t.settings(), false);
    let refused = open().await.unwrap_err().to_string();
    assert!(refused.contains("older than this program"), "{refused}");
    assert!(refused.contains("run `concord migrate`"), "{refused}");
    crate::migrate(t.settings(), None).await.unwrap();
    open().await.unwrap();

    let newest = TABLES_OF_TOMORROW;
    tomorrow(&t, newest.0).await;
    open().await.unwrap();
    crate::migrate(t.settings(), None).await.unwrap();
    tomorrow(&t, newest.1).await;
    let refused = open().await.unwrap_err().to_string();
    assert!(refused.contains("belong to a newer program"), "{refused}");
    let refused = crate::migrate(t.settings(), None).await.unwrap_err().to_string();
    assert!(refused.contains(newest.1), "{refused}");
}

/// One that this program survives, and one that it does not.
const TABLES_OF_TOMORROW: (&str, &str) =
    ("m20990101_90_nickname", "m20990301_91_drop_emails_needs_90");

async fn tomorrow(t: &TestDb, migration: &'static str) {
    let db = t.database().await;
    let table = Migrator::migration_table_name().to_string();
    let sql = format!("INSERT INTO {table} (version, applied_at) VALUES ('{migration}', 0)");
    let written = db.write(Scope::AllPractices, move |tx| {
        let sql = sql.clone();
        async move { tx.execute_unprepared(&sql).await.map(drop) }
    });
    written.await.unwrap();
}
