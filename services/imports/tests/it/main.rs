//! The imports service over real sockets, on both databases. The records service
//! is a double in memory ([`double`]) that can be told to misbehave.

mod double;
mod failures;
mod practice;
mod support;
mod uploads;
mod verdicts;
mod watch;
mod work;
