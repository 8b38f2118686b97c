//! The access log of support.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261126_06_support_reads", steps: &[Sql(TABLES)] };

const TABLES: &str = "
CREATE TABLE support_read (
  practice_id {key} NOT NULL,
  read_id {uuid} NOT NULL,
  read_at {time} NOT NULL,
  product text NOT NULL,
  account text NOT NULL,
  user_id text NOT NULL,
  rpc text NOT NULL,
  reason text NOT NULL,
  PRIMARY KEY (practice_id, read_id)
);
";
