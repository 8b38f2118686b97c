//! History: an entry stores how other entries have shortened its declared dates; an entry
//! with an unknown start allows others before it; an index finds the entries of a practice
//! whose status changes.

use concord_db::{
    Migration,
    MigrationStep::{PostgresOnly, Sql},
};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261130_14_history", steps: &[Sql(TABLES), PostgresOnly(POSTGRES_ONLY)] };

const TABLES: &str = "
ALTER TABLE entry ADD COLUMN cuts text;
CREATE INDEX entry_turns_in_practice ON entry (practice_id, turns_on) WHERE turns_on IS NOT NULL;
";

/// An entry with an unknown start occupies only the days that it certainly has, as in
/// `Period::known`: the last day before its end, or none.
const POSTGRES_ONLY: &str = "
ALTER TABLE entry DROP CONSTRAINT entry_no_overlap;
ALTER TABLE entry ADD CONSTRAINT entry_no_overlap EXCLUDE USING gist (
  practice_id WITH =, owner_id WITH =, timeline WITH =,
  daterange(coalesce(active_from, active_to - 1, 'infinity'::date), active_to) WITH &&
);
";
