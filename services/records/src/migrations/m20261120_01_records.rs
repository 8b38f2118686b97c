//! Connections, clients, persons, contacts, entries of timelines, links.

use concord_db::{
    Migration,
    MigrationStep::{PostgresOnly, Sql},
};

pub(super) const MIGRATION: Migration =
    Migration { name: "m20261120_01_records", steps: &[Sql(TABLES), PostgresOnly(POSTGRES_ONLY)] };

const TABLES: &str = "
CREATE TABLE connection (
  practice_id {key} NOT NULL,
  product {key} NOT NULL,
  connected_at {time} NOT NULL,
  connected_by text NOT NULL,
  PRIMARY KEY (practice_id, product)
);

CREATE TABLE client (
  practice_id {key} NOT NULL,
  id {uuid} NOT NULL,
  client_type text NOT NULL,
  jurisdiction text NOT NULL,
  reference text NOT NULL,
  reference_key {key} NOT NULL,
  person_id {uuid},
  company_number {key},
  utr {key},
  vat_number {key},
  paye_reference {key},
  emails text NOT NULL,
  phones text NOT NULL,
  state text NOT NULL,
  version bigint NOT NULL,
  created_at {time} NOT NULL,
  updated_at {time} NOT NULL,
  image {bytes} NOT NULL,
  PRIMARY KEY (practice_id, id)
);
CREATE UNIQUE INDEX client_reference ON client (practice_id, reference_key);
CREATE INDEX client_company_number ON client (practice_id, company_number)
  WHERE company_number IS NOT NULL;
CREATE INDEX client_person ON client (practice_id, person_id) WHERE person_id IS NOT NULL;

CREATE TABLE person (
  practice_id {key} NOT NULL,
  id {uuid} NOT NULL,
  birth_date {date},
  nino {key},
  ppsn {key},
  emails text NOT NULL,
  phones text NOT NULL,
  state text NOT NULL,
  version bigint NOT NULL,
  created_at {time} NOT NULL,
  updated_at {time} NOT NULL,
  image {bytes} NOT NULL,
  PRIMARY KEY (practice_id, id)
);

CREATE TABLE contact (
  practice_id {key} NOT NULL,
  id {uuid} NOT NULL,
  client_id {uuid} NOT NULL,
  person_id {uuid} NOT NULL,
  roles text NOT NULL,
  is_primary boolean NOT NULL,
  state text NOT NULL,
  version bigint NOT NULL,
  created_at {time} NOT NULL,
  updated_at {time} NOT NULL,
  image {bytes} NOT NULL,
  PRIMARY KEY (practice_id, id)
);
CREATE UNIQUE INDEX contact_place ON contact (practice_id, client_id, person_id);
CREATE INDEX contact_person ON contact (practice_id, person_id);

CREATE TABLE entry (
  practice_id {key} NOT NULL,
  id {uuid} NOT NULL,
  owner_id {uuid} NOT NULL,
  timeline {key} NOT NULL,
  value text NOT NULL,
  active_from {date},
  active_to {date},
  created_at {time} NOT NULL,
  PRIMARY KEY (practice_id, id)
);
CREATE INDEX entry_owner ON entry (practice_id, owner_id);

CREATE TABLE link (
  practice_id {key} NOT NULL,
  product {key} NOT NULL,
  account {key} NOT NULL,
  kind {key} NOT NULL,
  external_id {key} NOT NULL,
  record_id {uuid} NOT NULL,
  import_id {uuid},
  outcome text,
  linked_at {time} NOT NULL,
  linked_by text NOT NULL,
  PRIMARY KEY (practice_id, product, account, kind, external_id)
);
CREATE UNIQUE INDEX link_record ON link (practice_id, record_id, product, account);
";

/// A constraint that the entries of a timeline do not overlap, in addition to the check in
/// `domain::timeline`. SQLite has no exclusion constraints.
const POSTGRES_ONLY: &str = "
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;
ALTER TABLE entry ADD CONSTRAINT entry_no_overlap EXCLUDE USING gist (
  practice_id WITH =, owner_id WITH =, timeline WITH =,
  daterange(active_from, active_to) WITH &&
);
";
