//! Warnings: issues of records that are accepted.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261130_08_warnings", steps: &[Sql(TABLES)] };

/// - `import_failure`: errors are listed before warnings, so the severity comes first
///   in the index of the list.
/// - `import_tally`: `warned` is the number of records with a warning, counted at the
///   end of the import.
const TABLES: &str = "
ALTER TABLE import_failure ADD COLUMN severity {key} NOT NULL DEFAULT 'ERROR';
ALTER TABLE import_attempt ADD COLUMN severity {key} NOT NULL DEFAULT 'ERROR';
DROP INDEX import_failure_in_order;
CREATE INDEX import_failure_in_order ON import_failure
  (practice_id, import_id, severity, kind, source_id, batch, row_no, ordinal);
ALTER TABLE import_tally ADD COLUMN warned bigint NOT NULL DEFAULT 0;
";
