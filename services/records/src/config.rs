//! What a records service needs to know to start.

use std::net::SocketAddr;

use chrono::TimeDelta;
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
    /// How long an orphaned record waits for its removal.
    pub purge_after: TimeDelta,
}

/// How long an orphaned record waits unless the operator says otherwise.
const PURGE_AFTER: TimeDelta = TimeDelta::days(14);

impl RecordsConfig {
    /// Settings with the usual wait before a removal.
    pub fn new(listen: SocketAddr, database: DatabaseSettings, clock: Clock) -> Self {
        Self { listen, database, clock, purge_after: PURGE_AFTER }
    }
}
