//! Lowers the fillfactor of `import_record`, on PostgreSQL.
//!
//! Each row is updated once or twice. With free space in its page, the new version of
//! the row stays in the same page (a HOT update), and no index changes.

use concord_db::{Migration, MigrationStep::Fillfactor};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261126_06_room", steps: &[Fillfactor(&["import_record"])] };
