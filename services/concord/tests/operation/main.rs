//! What the services tell of themselves while they run: health, metrics, logs and
//! traces; and that nothing of it is about people.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by a panic")]

#[path = "../../../../tests/it/support/caller.rs"]
#[expect(dead_code, reason = "the vocabulary of tests/it, of which this is a part")]
mod caller;
#[path = "../faults/cluster.rs"]
mod cluster;
mod collector;
mod health;
mod log;
mod metrics;
mod personal;
#[path = "../support/process.rs"]
mod process;
mod sample;
mod stage;
mod traces;
