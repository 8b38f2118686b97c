//! End-to-end tests: gRPC clients, real servers, real sockets, both databases.

mod contract;
mod feed;
mod ingest;
mod records;
mod support;
