//! End-to-end tests: gRPC clients, real servers, real sockets, both databases.

mod audit;
mod contract;
mod feed;
mod history;
mod imports;
mod ingest;
mod links;
mod records;
mod requests;
mod search;
mod support;
mod updates;
