//! History and correction: the declared end of an entry, and its next status change; purge
//! times and tombstones of records; idempotency keys; the audit log; the search index.

use concord_db::{Migration, MigrationStep::Sql};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261120_03_whole", steps: &[Sql(TABLES)] };

const TABLES: &str = "
ALTER TABLE client ADD COLUMN purge_at {time};
ALTER TABLE person ADD COLUMN purge_at {time};
CREATE INDEX client_purge ON client (purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX person_purge ON person (purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX person_birth_date ON person (practice_id, birth_date) WHERE birth_date IS NOT NULL;
CREATE INDEX client_utr ON client (practice_id, utr) WHERE utr IS NOT NULL;
CREATE INDEX client_vat_number ON client (practice_id, vat_number) WHERE vat_number IS NOT NULL;

ALTER TABLE entry ADD COLUMN own_to {date};
ALTER TABLE entry ADD COLUMN turns_on {date};
CREATE INDEX entry_turns_on ON entry (turns_on) WHERE turns_on IS NOT NULL;

CREATE TABLE tombstone (
  practice_id {key} NOT NULL,
  record_id {uuid} NOT NULL,
  record_kind text NOT NULL,
  purged_at {time} NOT NULL,
  PRIMARY KEY (practice_id, record_id)
);

CREATE TABLE request (
  practice_id {key} NOT NULL,
  product {key} NOT NULL,
  request_id {uuid} NOT NULL,
  payload_digest {bytes} NOT NULL,
  record_id {uuid} NOT NULL,
  answer {bytes},
  answered_at {time} NOT NULL,
  PRIMARY KEY (practice_id, product, request_id)
);
CREATE INDEX request_record ON request (practice_id, record_id);
CREATE INDEX request_age ON request (answered_at);

CREATE TABLE audit (
  practice_id {key} NOT NULL,
  change_id {uuid} NOT NULL,
  changed_at {time} NOT NULL,
  product {key} NOT NULL,
  account {key} NOT NULL,
  user_id text NOT NULL,
  import_id {uuid},
  record_kind text NOT NULL,
  record_id {uuid} NOT NULL,
  kind text NOT NULL,
  entry_id {uuid},
  changed_fields text NOT NULL,
  before_values text,
  after_values text,
  request_id {uuid},
  reason text NOT NULL,
  PRIMARY KEY (practice_id, change_id)
);
CREATE INDEX audit_record ON audit (practice_id, record_id, change_id);

CREATE TABLE search_word (
  practice_id {key} NOT NULL,
  word {key} NOT NULL,
  record_id {uuid} NOT NULL,
  line bigint NOT NULL,
  record_kind text NOT NULL,
  rank bigint NOT NULL,
  sort_name {key} NOT NULL,
  PRIMARY KEY (practice_id, word, record_id, line)
);
-- With the word: the other words of a query are looked up by the line.
CREATE INDEX search_record ON search_word (practice_id, record_id, line, word);
";
