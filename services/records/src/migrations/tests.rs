//! Invariants of the tables and the migrations.

use concord_testing::{TestDb, storage_tests, tables};

use super::*;
use crate::schema::SCHEMA;

storage_tests! {
    every_table_is_granted_and_secured,
    role_without_ownership_can_use_the_tables,
    newer_schema_opens_if_compatible,
}

#[test]
fn migrations_are_ordered_and_backward_compatible() {
    // The constraint of 14 allows everything that the earlier one allowed.
    tables::check_migrations::<Migrator>(env!("CARGO_MANIFEST_DIR"), &[1, 14]);
}

async fn every_table_is_granted_and_secured(t: TestDb) {
    tables::check_tables::<Migrator>(&t, &SCHEMA).await;
}

async fn role_without_ownership_can_use_the_tables(t: TestDb) {
    tables::check_grants::<Migrator>(&t, &SCHEMA).await;
}

async fn newer_schema_opens_if_compatible(t: TestDb) {
    tables::check_compatibility::<Migrator>(&t, &SCHEMA).await;
}
