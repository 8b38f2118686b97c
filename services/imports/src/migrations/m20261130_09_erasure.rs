//! Erasures: which erasures an import has processed, and which of its records were
//! erased.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261130_09_erasure", steps: &[Sql(TABLES)] };

/// - `import`: `known_erasure` is the position of the practice's last erasure that was
///   processed for the import. The index has the imports that are still to be scanned.
/// - `import_staged`: the payload of an erased record contains only its kind.
const TABLES: &str = "
ALTER TABLE import ADD COLUMN known_erasure bigint NOT NULL DEFAULT 0;
CREATE INDEX import_holding ON import (practice_id, id) WHERE purged_at IS NULL;
ALTER TABLE import_staged ADD COLUMN erased boolean NOT NULL DEFAULT false;
";
