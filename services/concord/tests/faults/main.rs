//! Fault injection tests: killed processes, database crashes, full disks, stalled subscribers,
//! hostile uploads, idle connections, and overload.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail by a panic"
)]

#[cfg(target_os = "linux")]
mod connections;
mod database;
mod deployment;
mod driver;
#[cfg(target_os = "linux")]
mod full_disk;
mod hostile_uploads;
mod imports;
mod kills;
#[cfg(target_os = "linux")]
mod memory;
mod outage;
mod overload;
mod points;
mod postgres_server;
#[path = "../support/process.rs"]
mod process;
mod replica;
mod stalled;
