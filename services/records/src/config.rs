//! The configuration of a records service.

use std::{net::SocketAddr, time::Duration};

use chrono::TimeDelta;
use concord_core::clock::Clock;
use concord_db::DatabaseSettings;
use concord_server::{limits::Limits, security::SecuritySettings};

/// The settings of one replica.
#[derive(Clone, Debug)]
pub struct RecordsConfig {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its database, which no other service uses.
    pub database: DatabaseSettings,
    /// True to apply the pending migrations at the start. Otherwise the service does not
    /// start when its schema is behind.
    pub migrate: bool,
    /// The clock, with the time zone of the practices.
    pub clock: Clock,
    /// Authentication of callers, and TLS.
    pub security: SecuritySettings,
    /// Time between orphaning and purge of a record.
    pub purge_after: TimeDelta,
    /// Retention of changes in the feeds.
    pub feed_retention: TimeDelta,
    /// Maximum age of a connection. Its streams then end with a cursor, and the client
    /// reconnects, which balances the load over the replicas.
    pub connection_age: Duration,
    /// The address of `/metrics`, `/livez` and `/readyz`. Without it they are not served.
    pub metrics_listen: Option<SocketAddr>,
    /// Limits of the load: concurrency, rates, message sizes.
    pub limits: Limits,
}

/// Default of [`RecordsConfig::purge_after`].
const PURGE_AFTER: TimeDelta = TimeDelta::days(14);

/// Default of [`RecordsConfig::feed_retention`].
const FEED_RETENTION: TimeDelta = TimeDelta::days(30);

/// Default of [`RecordsConfig::connection_age`].
const CONNECTION_AGE: Duration = Duration::from_mins(30);

impl RecordsConfig {
    /// A configuration with the default times and limits.
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
