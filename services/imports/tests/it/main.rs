//! The imports service over real sockets, on both databases. The records service
//! is a double in memory ([`double`]) that can be told to misbehave.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod double;
mod failures;
mod support;
mod uploads;
mod verdicts;
mod watch;
mod work;
