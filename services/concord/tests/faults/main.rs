//! Faults that the services must survive, each made to a process or to its
//! database: kills, a database that crashes, a subscriber that does not read,
//! uploads that are made to do harm, connections that say nothing, more calls than can
//! be done.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail by a panic"
)]

mod cluster;
#[cfg(target_os = "linux")]
mod connections;
mod database;
mod driver;
#[cfg(target_os = "linux")]
mod full;
mod harm;
mod imports;
mod kills;
#[cfg(target_os = "linux")]
mod memory;
mod outage;
mod overload;
mod points;
#[path = "../support/process.rs"]
mod process;
mod replica;
mod site;
mod stalled;
#[expect(dead_code, reason = "the vocabulary of tests/it, of which this is a part")]
mod support;
