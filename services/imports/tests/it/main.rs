//! The imports service over real sockets, on both databases. The records service
//! is a double in memory ([`double`]) that can be told to misbehave.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod cost;
mod cut;
mod double;
mod endings;
mod erasing;
mod failures;
mod large;
mod retries;
mod set_back;
mod support;
mod uploads;
mod verdicts;
mod watch;
mod work;
