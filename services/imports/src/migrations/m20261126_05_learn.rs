//! Lets the service update the planner statistics of tables that a worker has just
//! filled.
//!
//! Only the owner of a table may run ANALYZE, and the service has a role of its own.
//! The migration creates a function that runs with the owner's rights and does only
//! that.

use concord_db::{Migration, MigrationStep::AnalyzeFunction};

pub(super) const MIGRATION: Migration = Migration {
    name: "m20261126_05_learn",
    steps: &[AnalyzeFunction(super::ANALYZE_FUNCTION, TABLES)],
};

const TABLES: &[&str] = &["import_record", "import_parent"];
