//! Fencing tokens of imports.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261121_05_fences", steps: &[Sql(TABLES)] };

const TABLES: &str = "
CREATE TABLE import_fence (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  fence bigint NOT NULL,
  raised_at {time} NOT NULL,
  PRIMARY KEY (practice_id, import_id)
);
CREATE INDEX import_fence_raised_at ON import_fence (raised_at);
";
