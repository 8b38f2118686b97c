//! The migrations of the schema, one module for each.
//!
//! The table of the applied migrations has their names. The SQL has placeholders for the types
//! in which the engines differ, so that it reads like the schema; see
//! [`MigrationStep`](concord_db::MigrationStep).

mod m20261120_01_imports;
mod m20261121_02_rounds;
mod m20261125_03_duplicates;
mod m20261125_04_row_security;
mod m20261126_05_learn;
mod m20261126_06_room;
mod m20261130_07_worker;
mod m20261130_08_warnings;
mod m20261130_09_erasure;

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
            m20261120_01_imports::MIGRATION,
            m20261121_02_rounds::MIGRATION,
            m20261125_03_duplicates::MIGRATION,
            m20261125_04_row_security::MIGRATION,
            m20261126_05_learn::MIGRATION,
            m20261126_06_room::MIGRATION,
            m20261130_07_worker::MIGRATION,
            m20261130_08_warnings::MIGRATION,
            m20261130_09_erasure::MIGRATION,
        ])
    }

    fn migration_table_name() -> DynIden {
        // A separate table: both services may share a PostgreSQL database.
        "imports_migrations".into_iden()
    }
}

/// The SQL function that updates the planner statistics (ANALYZE) of the tables that
/// the worker filled.
pub(crate) const ANALYZE_FUNCTION: &str = "concord_learn_of_imports";

/// All tables that `--grant-to` covers.
pub(crate) const TABLES: &[&str] = &[
    "import",
    "import_batch",
    "import_staged",
    "import_record",
    "import_parent",
    "import_known",
    "import_failure",
    "import_tally",
    "import_attempt",
    "import_duplicate",
    "import_likeness",
];

#[cfg(test)]
mod tests;
