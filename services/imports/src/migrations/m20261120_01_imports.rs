//! Imports, batches, staged records, verdicts, failures.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261120_01_imports", steps: &[Sql(TABLES)] };

/// - `import`: `phase` and `position` are the progress of the worker; `lease_…` is the
///   lease of the worker. One import of a practice runs at a time.
/// - `import_staged`: the records as uploaded. It has no index but the primary key, so
///   that staging is fast.
/// - `import_record`: the result of each record. `source_id` is empty if the record has
///   no key; `timeline` is the owner and type of an address with valid dates. The
///   defaults allow updates by upsert; see `store/edits.rs`.
/// - `import_parent`: the source ids by which a record refers to its parents; only of
///   records whose own fields are valid.
/// - `import_known`: parents that are not in the import.
/// - `import_failure`: kind and source id are copied from the record, so that one index
///   has the order of the list.
/// - `import_tally`: the number of records by kind and status.
const TABLES: &str = "
CREATE TABLE import (
  practice_id {key} NOT NULL,
  id {uuid} NOT NULL,
  product {key} NOT NULL,
  account {key} NOT NULL,
  label text NOT NULL,
  created_by text NOT NULL,
  state {key} NOT NULL,
  round bigint NOT NULL,
  phase text NOT NULL,
  position text NOT NULL,
  note text NOT NULL,
  batch_count bigint NOT NULL,
  lease_owner {uuid},
  lease_token bigint NOT NULL,
  lease_expires_at {time},
  created_at {time} NOT NULL,
  sealed_at {time},
  ended_at {time},
  PRIMARY KEY (practice_id, id)
);
CREATE UNIQUE INDEX import_at_work ON import (practice_id)
  WHERE state IN ('RESOLVING', 'APPLYING');
CREATE INDEX import_open ON import (practice_id) WHERE state = 'RECEIVING';
CREATE INDEX import_waiting ON import (sealed_at)
  WHERE state IN ('SEALED', 'RESOLVING', 'APPLYING', 'STALLED');

CREATE TABLE import_batch (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  ordinal bigint NOT NULL,
  batch_key {key} NOT NULL,
  sha256 {bytes} NOT NULL,
  size_bytes bigint NOT NULL,
  clients bigint NOT NULL,
  contacts bigint NOT NULL,
  addresses bigint NOT NULL,
  unreadable bigint NOT NULL,
  staged_at {time} NOT NULL,
  PRIMARY KEY (practice_id, import_id, ordinal)
);
CREATE UNIQUE INDEX import_batch_by_key ON import_batch (practice_id, import_id, batch_key);

CREATE TABLE import_staged (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  batch bigint NOT NULL,
  row_no bigint NOT NULL,
  payload {bytes} NOT NULL,
  PRIMARY KEY (practice_id, import_id, batch, row_no)
);

CREATE TABLE import_record (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  batch bigint NOT NULL,
  row_no bigint NOT NULL,
  kind {key} NOT NULL DEFAULT '',
  source_id {key} NOT NULL DEFAULT '',
  digest {bytes} NOT NULL DEFAULT '',
  size_bytes bigint NOT NULL DEFAULT 0,
  status text NOT NULL DEFAULT '',
  reference text NOT NULL DEFAULT '',
  reference_key {key},
  timeline {key},
  active_from {date},
  active_to {date},
  ends_on {date},
  record_id text,
  PRIMARY KEY (practice_id, import_id, batch, row_no)
);
CREATE INDEX import_record_by_key
  ON import_record (practice_id, import_id, kind, source_id, batch, row_no);
CREATE INDEX import_record_by_reference ON import_record (practice_id, import_id, reference_key)
  WHERE reference_key IS NOT NULL;
CREATE INDEX import_record_by_timeline ON import_record (practice_id, import_id, timeline, batch, row_no)
  WHERE timeline IS NOT NULL;

CREATE TABLE import_parent (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  batch bigint NOT NULL,
  row_no bigint NOT NULL,
  ordinal bigint NOT NULL,
  kind {key} NOT NULL,
  source_id {key} NOT NULL,
  PRIMARY KEY (practice_id, import_id, batch, row_no, ordinal)
);
CREATE INDEX import_parent_by_key ON import_parent (practice_id, import_id, kind, source_id);

CREATE TABLE import_known (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  kind {key} NOT NULL,
  source_id {key} NOT NULL,
  record_id text NOT NULL,
  name text NOT NULL,
  reference text NOT NULL,
  PRIMARY KEY (practice_id, import_id, kind, source_id)
);

CREATE TABLE import_failure (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  batch bigint NOT NULL,
  row_no bigint NOT NULL,
  ordinal bigint NOT NULL,
  kind {key} NOT NULL,
  source_id {key} NOT NULL,
  status {key} NOT NULL,
  field text NOT NULL,
  reason {key} NOT NULL,
  reason_text text NOT NULL,
  root_cause text NOT NULL,
  PRIMARY KEY (practice_id, import_id, batch, row_no, ordinal)
);
CREATE INDEX import_failure_in_order
  ON import_failure (practice_id, import_id, kind, source_id, batch, row_no, ordinal);

CREATE TABLE import_tally (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  kind {key} NOT NULL,
  status {key} NOT NULL,
  n bigint NOT NULL,
  PRIMARY KEY (practice_id, import_id, kind, status)
);
";
