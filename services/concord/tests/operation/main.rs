//! Observability: health, metrics, logs and traces, and that none of them contain personal
//! data.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by a panic")]

mod collector;
mod health;
mod log;
mod metrics;
mod personal;
#[path = "../faults/postgres_server.rs"]
mod postgres_server;
#[path = "../support/process.rs"]
mod process;
mod sample;
mod server_process;
mod traces;
