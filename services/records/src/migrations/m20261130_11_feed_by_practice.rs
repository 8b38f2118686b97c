//! An index that finds the entries of one practice in a feed without reading those of the
//! others.
//!
//! While PostgreSQL creates the index, no positions are assigned: changes stay pending, and
//! writes are not blocked.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261130_11_feed_by_practice", steps: &[Sql(TABLES)] };

const TABLES: &str = "
CREATE INDEX feed_entry_practice ON feed_entry (product, practice_id, pos);
";
