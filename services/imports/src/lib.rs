//! The imports service: migrates the whole database of a practice (the tenant) into
//! Concord.
//!
//! A product uploads batches of records, in any order, and seals the import. The worker
//! then reads all records, checks them against each other, and applies them to the
//! records service in chunks, parents first.
//!
//! - [`Application`] is the service; [`ImportsConfig`] is its configuration.
//! - `grpc` parses requests, calls `service`, and encodes responses. `service` has one
//!   function per RPC; `worker` does the work after the seal, one page at a time.
//! - `domain` has the rules: pure functions without clock, database or gRPC.
//! - `store` accesses the tables; `records_client` calls the records service.

mod app;
mod config;
mod domain;
mod erasure;
mod error;
mod failures_file;
mod gauges;
mod grpc;
mod jobs;
mod migrations;
mod post_restore;
mod records_client;
mod schema;
mod service;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod worker;

pub use app::Application;
pub use config::{ImportsConfig, UploadSettings, WorkerSettings};
pub use error::StartError;
pub use post_restore::post_restore;
pub use schema::migrate;
