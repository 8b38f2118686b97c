//! A lower fillfactor for clients and persons, on PostgreSQL.
//!
//! An update writes a new row version. If the page has room for it, no index has to be
//! updated (a HOT update). An import updates most clients and persons soon after it has
//! created them, once for each address.

use concord_db::{Migration, MigrationStep::Fillfactor};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261126_10_room", steps: &[Fillfactor(&["client", "person"])] };
