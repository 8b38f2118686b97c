//! The imports service: moves a practice's whole database into Concord.
//!
//! A product uploads batches of records, in any order, and seals the import.
//! The worker then reads all of them, judges them against each other, and
//! applies them to the records service in chunks, parents first.
//!
//! - [`Application`] is the service; [`ImportsConfig`] is what it is told.
//! - `grpc` parses, calls `service`, encodes. `service` has one function per
//!   call; `worker` does what happens after the seal, one page at a time.
//! - `domain` holds the rules: pure, no clock, no database, no gRPC.
//! - `store` holds the tables; `records_client` reaches the records service.

mod app;
mod config;
mod domain;
mod erasure;
mod error;
mod failures_file;
mod gauges;
mod grpc;
mod housekeeping;
mod migrations;
mod records_client;
mod restored;
mod service;
mod store;
mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod worker;

pub use app::{Application, StartError};
pub use config::{ImportsConfig, UploadSettings, WorkerSettings};
pub use restored::restored;
pub use tables::migrate;
