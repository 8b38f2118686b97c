//! Rounds: retries and earlier attempts. Dry runs, declared content, cancellation, and
//! purging.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261121_02_rounds", steps: &[Sql(TABLES)] };

/// - `import`: `expected` is the declared content, as JSON; `ended_before` is the state
///   in which the previous round ended; `touched_at` is when it last received a batch.
/// - `import_record`: `round` is the round in which it was last read; `retried` is true
///   if it had failed in the round before.
/// - `import_attempt`: the failures of earlier rounds.
const TABLES: &str = "
ALTER TABLE import ADD COLUMN validate_only boolean NOT NULL DEFAULT false;
ALTER TABLE import ADD COLUMN expected text;
ALTER TABLE import ADD COLUMN cancel_requested boolean NOT NULL DEFAULT false;
ALTER TABLE import ADD COLUMN ended_before text;
ALTER TABLE import ADD COLUMN touched_at {time};
UPDATE import SET touched_at = created_at;
ALTER TABLE import ADD COLUMN purged_at {time};
CREATE INDEX import_idle ON import (touched_at) WHERE state = 'RECEIVING';
CREATE INDEX import_ended ON import (ended_at) WHERE ended_at IS NOT NULL AND purged_at IS NULL;

ALTER TABLE import_batch ADD COLUMN round bigint NOT NULL DEFAULT 1;

ALTER TABLE import_record ADD COLUMN round bigint NOT NULL DEFAULT 1;
ALTER TABLE import_record ADD COLUMN retried boolean NOT NULL DEFAULT false;

CREATE TABLE import_attempt (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  round bigint NOT NULL,
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
  PRIMARY KEY (practice_id, import_id, round, batch, row_no, ordinal)
);
";
