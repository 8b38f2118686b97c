//! Named subscriptions: positions that the server stores. The secret that signs cursors,
//! and the change before the oldest retained position, to check a cursor there.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261121_04_subscriptions", steps: &[Sql(TABLES)] };

/// `practice_id` of a subscription is empty if it is for all practices of the product. No
/// practice has an empty name.
const TABLES: &str = "
ALTER TABLE feed_product ADD COLUMN secret {bytes} NOT NULL DEFAULT '';
ALTER TABLE feed_product ADD COLUMN floor_change {uuid};
UPDATE feed_product SET secret = {random};

CREATE INDEX connection_product ON connection (product, practice_id);

CREATE TABLE feed_subscription (
  product {key} NOT NULL,
  practice_id {key} NOT NULL,
  account {key} NOT NULL,
  name {key} NOT NULL,
  id {uuid} NOT NULL,
  session bigint NOT NULL,
  start_pos bigint NOT NULL,
  acked_pos bigint NOT NULL,
  acked_walk text,
  acked_at {time},
  delivered_pos bigint NOT NULL,
  seen_pos bigint NOT NULL,
  echo text NOT NULL,
  kinds text NOT NULL,
  linked_only boolean NOT NULL,
  practices text NOT NULL,
  created_at {time} NOT NULL,
  connected_at {time} NOT NULL,
  active_until {time},
  PRIMARY KEY (product, practice_id, account, name)
);
";
