//! The migrations of the schema, one module for each.
//!
//! The table of the applied migrations has their names. The SQL has placeholders for the types
//! in which the engines differ, so that it reads like the schema; see
//! [`MigrationStep`](concord_db::MigrationStep).

mod m20261120_01_records;
mod m20261120_02_feed;
mod m20261120_03_whole;
mod m20261121_04_subscriptions;
mod m20261121_05_fences;
mod m20261126_06_support_reads;
mod m20261126_07_likeness;
mod m20261126_08_row_security;
mod m20261126_09_learn;
mod m20261126_10_room;
mod m20261130_11_feed_by_practice;
mod m20261130_12_connection_identity;
mod m20261130_13_jurisdictions;
mod m20261130_14_history;
mod m20261130_15_erasure;
mod m20261130_16_support_read_records;

use concord_db::Migration;
use sea_orm_migration::{
    MigrationTrait, MigratorTrait,
    sea_orm::{DynIden, sea_query::IntoIden as _},
};

/// Migrates the schema to the newest version.
#[derive(Debug)]
pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        Migration::boxed(&[
            m20261120_01_records::MIGRATION,
            m20261120_02_feed::MIGRATION,
            m20261120_03_whole::MIGRATION,
            m20261121_04_subscriptions::MIGRATION,
            m20261121_05_fences::MIGRATION,
            m20261126_06_support_reads::MIGRATION,
            m20261126_07_likeness::MIGRATION,
            m20261126_08_row_security::MIGRATION,
            m20261126_09_learn::MIGRATION,
            m20261126_10_room::MIGRATION,
            m20261130_11_feed_by_practice::MIGRATION,
            m20261130_12_connection_identity::MIGRATION,
            m20261130_13_jurisdictions::MIGRATION,
            m20261130_14_history::MIGRATION,
            m20261130_15_erasure::MIGRATION,
            m20261130_16_support_read_records::MIGRATION,
        ])
    }

    fn migration_table_name() -> DynIden {
        // Not the default name: both services may share a PostgreSQL database.
        "records_migrations".into_iden()
    }
}

/// The SQL function that updates the planner statistics of the tables that imports fill
/// (`ANALYZE`).
pub(crate) const ANALYZE_FUNCTION: &str = "concord_learn_of_records";

/// All tables, for the grant of rights.
pub(crate) const TABLES: &[&str] = &[
    "connection",
    "client",
    "person",
    "contact",
    "entry",
    "link",
    "feed_product",
    "feed_change",
    "feed_pending",
    "feed_entry",
    "feed_subscription",
    "tombstone",
    "request",
    "audit",
    "search_word",
    "import_fence",
    "support_read",
    "former_link",
    "erasure",
    "erasure_head",
];

#[cfg(test)]
mod tests;
