//! A function that updates the planner statistics of the tables that imports fill.
//!
//! Only the owner of a table may run `ANALYZE`, and the service has another role. So the
//! function has the owner's rights, and does nothing else.

use concord_db::{Migration, MigrationStep::AnalyzeFunction};

pub(super) const MIGRATION: Migration = Migration {
    name: "m20261126_09_learn",
    steps: &[AnalyzeFunction(super::ANALYZE_FUNCTION, TABLES)],
};

const TABLES: &[&str] =
    &["client", "person", "contact", "entry", "link", "search_word", "feed_change", "feed_entry"];
