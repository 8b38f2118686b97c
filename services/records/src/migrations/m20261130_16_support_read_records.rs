//! The ids of the records in the access log of support.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261130_16_support_read_records", steps: &[Sql(COLUMN)] };

/// `record_ids`: ids separated by spaces; empty for entries from before the migration.
const COLUMN: &str = "
ALTER TABLE support_read ADD COLUMN record_ids text NOT NULL DEFAULT '';
";
