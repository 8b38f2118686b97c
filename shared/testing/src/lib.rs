//! Test support. By feature, so that the tests of a crate build no more than they need:
//!
//! - always: [fuzzing](fuzz), and [the limits of the documentation](documented_limits);
//! - `db`: [an empty database for each test](database), and checks of [tables];
//! - `services`: [clients and servers for end-to-end tests](e2e).

#[cfg(feature = "db")]
pub mod database;
pub mod documented_limits;
#[cfg(feature = "services")]
pub mod e2e;
pub mod fuzz;
#[cfg(feature = "db")]
pub mod tables;

#[cfg(feature = "db")]
pub use database::{TestDb, files_containing, postgres_url};
pub use documented_limits::{assert_documented, documented_limits};
