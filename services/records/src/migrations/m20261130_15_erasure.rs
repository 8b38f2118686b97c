//! The erasure log, which the imports service reads in order, and the digests of the
//! external keys of records.

use concord_db::{
    Migration,
    MigrationStep::{RowSecurity, Sql},
};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261130_15_erasure", steps: &[Sql(TABLES), RowSecurity(SECURED)] };

/// - `former_link`: the digest of the external key of a removed link.
/// - `erasure`: a purged record, or the digest of a key of one. `position` is dense in
///   the practice and follows the order of the commits.
/// - `erasure_head`: the last position. A purge locks it until its commit.
const TABLES: &str = "
CREATE TABLE former_link (
  practice_id {key} NOT NULL,
  record_id {uuid} NOT NULL,
  digest {bytes} NOT NULL,
  PRIMARY KEY (practice_id, record_id, digest)
);

CREATE TABLE erasure (
  practice_id {key} NOT NULL,
  position bigint NOT NULL,
  record_kind text,
  record_id {uuid},
  digest {bytes},
  erased_at {time} NOT NULL,
  PRIMARY KEY (practice_id, position)
);
CREATE INDEX erasure_by_time ON erasure (erased_at);

CREATE TABLE erasure_head (
  practice_id {key} NOT NULL PRIMARY KEY,
  position bigint NOT NULL
);

INSERT INTO erasure (practice_id, position, record_kind, record_id, erased_at)
  SELECT practice_id, ROW_NUMBER() OVER (PARTITION BY practice_id ORDER BY purged_at, record_id),
    record_kind, record_id, purged_at
  FROM tombstone;
INSERT INTO erasure_head (practice_id, position)
  SELECT practice_id, count(*) FROM erasure GROUP BY practice_id;
";

const SECURED: &[&str] = &["former_link", "erasure", "erasure_head"];
