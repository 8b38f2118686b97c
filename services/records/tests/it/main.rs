//! Tests of the records service: gRPC clients, real servers, real sockets, both databases.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod audit;
mod disconnects;
mod faults;
mod feed;
mod history;
mod ingest;
mod ingest_contract;
mod limits;
mod links;
mod races;
mod records;
mod requests;
mod retention;
mod row_security;
mod search;
mod slow_callers;
mod snapshots;
mod subscriptions;
mod traces;
mod updates;
