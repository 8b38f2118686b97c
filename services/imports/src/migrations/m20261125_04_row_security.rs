//! Row-level security: a write sees and changes only rows of its own practice (tenant).

use concord_db::{Migration, MigrationStep::RowSecurity};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261125_04_row_security", steps: &[RowSecurity(TABLES)] };

const TABLES: &[&str] = &[
    "import",
    "import_batch",
    "import_staged",
    "import_record",
    "import_parent",
    "import_known",
    "import_failure",
    "import_tally",
    "import_attempt",
    "import_duplicate",
    "import_likeness",
];
