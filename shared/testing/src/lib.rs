//! Test support. By feature, so that the tests of a crate build no more than they need:
//!
//! - always: `fuzz`, and `documented_limits` (the limits of the documentation);
//! - `db`: `database` (an empty database for each test), and `tables` (checks of a schema);
//! - `services`: `e2e` (clients and servers for end-to-end tests).

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
