//! A model of the change feed, checked under thousands of seeded schedules.
//!
//! Writers, sequencers, purges and readers are state machines: one step is one
//! statement. A seed determines a schedule: what each actor does, and the order of the
//! steps. The model's database has the visibility of PostgreSQL at READ COMMITTED: a
//! statement sees what was committed when it started, and the writes of its own
//! transaction. All observations are checked against the seven properties (see
//! [`properties`]). At the end all actors become idle, and the final state is checked.
//!
//! The steps of the sequencer and of the purge are the statements of
//! `store::feed::sequence` and `store::feed::retention`. A writer starts by reading the
//! connections, and ends with `store::changes::append`. A product is connected as by
//! `service::connections`. A change of one of these needs the same change here.
//!
//! The checks must detect what is wrong: three wrong orders, and the
//! [`Defect`](setup::Defect)s. [`coverage`] must show that all events occurred.
//! Otherwise the properties would prove nothing.
//!
//! ```text
//! cargo test model                                 10,000 schedules
//! CONCORD_SCHEDULES=1000000 cargo test --release model
//! CONCORD_SCHEDULE_SEED=17 cargo test schedules -- --nocapture
//!                                                  this one, with all its steps
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod actors;
mod batch;
mod connect_log;
mod coverage;
mod cursor;
mod database;
mod observer;
mod operator;
mod poller;
mod properties;
mod purge;
mod random;
mod reader;
mod record_copy;
mod restored;
mod rows;
mod schedule;
mod script;
mod sequencer;
mod setup;
mod table;
mod transactions;
mod world;
mod writer;

mod tests;
