//! End-to-end tests: gRPC clients, real servers, real sockets, both databases.

mod contract;
mod feed;
mod imports;
mod ingest;
mod records;
mod support;
