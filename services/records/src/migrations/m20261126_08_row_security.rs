//! Row-level security: a write sees and changes only the rows of its practice (the tenant).

use concord_db::{Migration, MigrationStep::RowSecurity};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261126_08_row_security", steps: &[RowSecurity(TABLES)] };

const TABLES: &[&str] = &[
    "connection",
    "client",
    "person",
    "contact",
    "entry",
    "link",
    "feed_change",
    "feed_pending",
    "feed_entry",
    "feed_subscription",
    "tombstone",
    "request",
    "audit",
    "search_word",
    "import_fence",
    "support_read",
];
