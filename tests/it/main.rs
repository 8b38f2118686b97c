//! End-to-end tests: gRPC clients, real servers, real sockets, both databases.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod admission;
mod backups;
mod connections;
mod contract;
mod credentials;
mod duplicates;
mod erasure;
mod fencing;
mod fuzz;
mod imports;
mod order;
mod rounds;
mod security_doc;
mod support_reads;
mod tenancy;
mod tls;
mod tokens;
mod warnings;
