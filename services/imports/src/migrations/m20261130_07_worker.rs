//! Adds what the worker needs to detect a database that was restored to an earlier
//! state (`applied_fence`), the fair order of claims across practices (`claimed_at`),
//! and an index of the clients of a reference in row order.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261130_07_worker", steps: &[Sql(TABLES)] };

/// - `applied_fence` is the fence of the last call whose outcome is stored; 0 for none.
/// - `claimed_at` is when a worker last claimed the import.
const TABLES: &str = "
ALTER TABLE import ADD COLUMN applied_fence bigint NOT NULL DEFAULT 0;
ALTER TABLE import ADD COLUMN claimed_at {time};
CREATE INDEX import_turns ON import (practice_id, claimed_at);

DROP INDEX import_record_by_reference;
CREATE INDEX import_record_by_reference
  ON import_record (practice_id, import_id, reference_key, batch, row_no)
  WHERE reference_key IS NOT NULL;
";
