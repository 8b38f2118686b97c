//! What a records service needs to know to start.

use std::net::SocketAddr;

use shared::{clock::Clock, db::DatabaseSettings};

/// The settings of one replica.
#[derive(Clone, Debug)]
pub struct RecordsConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its database, which is its own.
    pub database: DatabaseSettings,
    /// The time, and the time zone of the practices.
    pub clock: Clock,
}
