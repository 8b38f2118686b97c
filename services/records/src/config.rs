//! What a records service needs to know to start.

use std::{net::SocketAddr, time::Duration};

use chrono::TimeDelta;
use shared::{
    clock::Clock, db::DatabaseSettings, security::SecuritySettings, server::limits::Limits,
};

/// The settings of one replica.
#[derive(Clone, Debug)]
pub struct RecordsConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its database, which is its own.
    pub database: DatabaseSettings,
    /// Whether to bring the tables to the newest version first. Without it, tables
    /// that are not are a reason not to start.
    pub migrate: bool,
    /// The time, and the time zone of the practices.
    pub clock: Clock,
    /// How callers prove who they are, and how the connections are encrypted.
    pub security: SecuritySettings,
    /// How long an orphaned record waits for its removal.
    pub purge_after: TimeDelta,
    /// How long the feeds keep a change.
    pub feed_retention: TimeDelta,
    /// How old a connection becomes at the most; its streams end then with a last
    /// cursor, so that the load spreads over the replicas.
    pub connection_age: Duration,
    /// Where `/metrics`, `/livez` and `/readyz` are; nowhere without it.
    pub metrics_listen: Option<SocketAddr>,
    /// What the replica takes at most.
    pub limits: Limits,
}

/// How long an orphaned record waits unless the operator says otherwise.
const PURGE_AFTER: TimeDelta = TimeDelta::days(14);

/// How long the feeds keep a change unless the operator says otherwise.
const FEED_RETENTION: TimeDelta = TimeDelta::days(30);

/// How old a connection becomes unless the operator says otherwise.
const CONNECTION_AGE: Duration = Duration::from_mins(30);

impl RecordsConfig {
    /// Settings with the usual times.
    pub fn new(listen: SocketAddr, database: DatabaseSettings, clock: Clock) -> Self {
        Self {
            listen,
            database,
            migrate: true,
            clock,
            security: SecuritySettings::default(),
            purge_after: PURGE_AFTER,
            feed_retention: FEED_RETENTION,
            connection_age: CONNECTION_AGE,
            metrics_listen: None,
            limits: Limits::default(),
        }
    }
}
