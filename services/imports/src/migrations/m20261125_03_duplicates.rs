//! Possible duplicates of imported records.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261125_03_duplicates", steps: &[Sql(TABLES)] };

/// - `import_duplicate`: kind and source id are copied from the record, as in
///   `import_failure`; `field` is the equal match field.
/// - `import_likeness`: only while a dry run is running: the first record of each match
///   key.
const TABLES: &str = "
ALTER TABLE import ADD COLUMN possible_duplicates bigint NOT NULL DEFAULT 0;

CREATE TABLE import_duplicate (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  batch bigint NOT NULL,
  row_no bigint NOT NULL,
  field {key} NOT NULL,
  kind {key} NOT NULL,
  source_id {key} NOT NULL,
  other_kind text NOT NULL,
  other_record_id text NOT NULL,
  other_source_id text NOT NULL,
  other_name text NOT NULL,
  other_reference text NOT NULL,
  PRIMARY KEY (practice_id, import_id, batch, row_no, field)
);
CREATE INDEX import_duplicate_in_order
  ON import_duplicate (practice_id, import_id, kind, source_id, batch, row_no, field);

CREATE TABLE import_likeness (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  field {key} NOT NULL,
  value {key} NOT NULL,
  kind text NOT NULL,
  source_id text NOT NULL,
  name text NOT NULL,
  reference text NOT NULL,
  PRIMARY KEY (practice_id, import_id, field, value)
);
";
