//! Tests of the imports service over real sockets, on both databases. The records
//! service is an in-memory fake with fault injection,
//! [`FakeRecords`](concord_testing::e2e::fake_records::FakeRecords).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod erasure;
mod failures;
mod ingest_contract;
mod lost_commits;
mod oversized_records;
mod restored_database;
mod retries;
mod retry_cost;
mod support;
mod terminal_states;
mod uploads;
mod verdicts;
mod watch;
mod worker;
