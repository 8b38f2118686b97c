//! End-to-end tests of the program: its processes, their output and exit status. Both
//! services run on SQLite files, with real sockets.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by a panic")]

mod commands;
mod corrections;
mod crashes;
mod finding;
mod first_hour;
mod lifecycle;
mod migrating;
mod practice;
#[path = "../support/process.rs"]
mod process;
mod rounds;
mod running;
mod security;
mod subscriptions;
