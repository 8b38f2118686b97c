//! End-to-end tests: gRPC clients, real servers, real sockets, both databases.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod admission;
mod audit;
mod backups;
mod connections;
mod contract;
mod credentials;
mod disconnects;
mod duplicates;
mod erasure;
mod faults;
mod feed;
mod fencing;
mod fuzz;
mod history;
mod imports;
mod ingest;
mod limits;
mod links;
mod order;
mod races;
mod records;
mod requests;
mod retention;
mod rounds;
mod row_security;
mod search;
mod security_doc;
mod slow_callers;
mod snapshots;
mod subscriptions;
mod support_reads;
mod tenancy;
mod tls;
mod tokens;
mod traces;
mod updates;
mod warnings;
