//! The connection of the practice under which a subscription was started. A connection is
//! identified by its start time, which is compared only for equality, as in cursors: the
//! clocks of two replicas may differ.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261130_12_connection_identity", steps: &[Sql(COLUMN)] };

/// `connection_since`: null for a subscription of all practices, and for one whose
/// connection is unknown. The latter cannot resume by its name. An existing subscription
/// resumes under the same conditions as before the migration.
const COLUMN: &str = "
ALTER TABLE feed_subscription ADD COLUMN connection_since {time};
UPDATE feed_subscription SET connection_since = (
  SELECT c.connected_at FROM connection c
  WHERE c.product = feed_subscription.product
    AND c.practice_id = feed_subscription.practice_id
    AND c.connected_at <= feed_subscription.connected_at);
";
