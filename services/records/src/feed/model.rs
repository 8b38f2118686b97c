//! A model of the change feed, run under thousands of seeded schedules.
//!
//! Writers, sequencers, purges and readers are state machines: one step is one
//! statement. A schedule is a seed; it decides what everybody does, and who does
//! the next step. The database below them is as PostgreSQL is at READ
//! COMMITTED: a statement sees what was committed when it began, and what its
//! own transaction wrote. Everything that is observed is checked against the
//! seven properties (see [`properties`]); at the end all come to rest, and the
//! whole is checked.
//!
//! The steps of the sequencer and of the purge are the statements of
//! `store::feed::sequence` and `store::feed::retention`; those of a writer begin
//! with its look who is connected, and end with `store::changes::append`. A product
//! is connected as by `service::connections`. Whoever changes one changes the other.
//!
//! That the properties hold says something only because the checks find what is
//! wrong: three orderings that do not work, and the [`Defect`](setup::Defect)s,
//! must be caught, and [`coverage`] must show that it all happened.
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

mod batch;
mod connects;
mod coverage;
mod cursor;
mod database;
mod held;
mod operator;
mod ordering;
mod properties;
mod purge;
mod random;
mod reader;
mod restored;
mod rows;
mod schedule;
mod script;
mod sequencer;
mod setup;
mod table;
mod transactions;
mod witness;
mod world;
mod writer;

mod tests;
