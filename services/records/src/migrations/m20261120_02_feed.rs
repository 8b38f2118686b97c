//! The change feed.
//!
//! A writing transaction inserts into `feed_change`, and into `feed_pending` once for every
//! connected product (the outbox). After the commit, the sequencer turns pending rows into
//! `feed_entry` rows with dense positions.

use concord_db::{
    Migration,
    MigrationStep::{PostgresOnly, Sql},
};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261120_02_feed", steps: &[Sql(TABLES), PostgresOnly(POSTGRES_ONLY)] };

const TABLES: &str = "
CREATE TABLE feed_change (
  seq {identity},
  id {uuid} NOT NULL,
  practice_id {key} NOT NULL,
  record_kind text NOT NULL,
  record_id {uuid} NOT NULL,
  record_version bigint NOT NULL,
  kind text NOT NULL,
  changed_fields text NOT NULL,
  entry_id {uuid},
  companions text NOT NULL,
  origin_product {key} NOT NULL,
  origin_account {key} NOT NULL,
  origin_user text NOT NULL,
  import_id {uuid},
  transaction_id {uuid} NOT NULL,
  transaction_index bigint NOT NULL,
  transaction_count bigint NOT NULL,
  changed_at {time} NOT NULL
);
CREATE INDEX feed_change_record ON feed_change (practice_id, record_id);

CREATE TABLE feed_pending (
  product {key} NOT NULL,
  practice_id {key} NOT NULL,
  seq bigint NOT NULL,
  linked boolean NOT NULL,
  PRIMARY KEY (product, practice_id, seq)
);

CREATE TABLE feed_product (
  product {key} NOT NULL PRIMARY KEY,
  epoch {uuid} NOT NULL,
  head bigint NOT NULL,
  floor bigint NOT NULL,
  last_practice {key} NOT NULL
);

CREATE TABLE feed_entry (
  product {key} NOT NULL,
  pos bigint NOT NULL,
  seq bigint NOT NULL,
  practice_id {key} NOT NULL,
  linked boolean NOT NULL,
  sequenced_at {time} NOT NULL,
  PRIMARY KEY (product, pos)
);
CREATE UNIQUE INDEX feed_entry_seq ON feed_entry (product, seq);
";

/// Autovacuum settings for the pending rows, which are short-lived. Without them, dead rows
/// accumulate during an import, and every search for the next practice scans them.
const POSTGRES_ONLY: &str = "
ALTER TABLE feed_pending SET (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0
);
";
