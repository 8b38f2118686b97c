//! What the service is told when it starts.

use std::{net::SocketAddr, time::Duration};

use shared::{clock::Clock, db::DatabaseSettings};

/// Everything that the service needs to know.
#[derive(Clone, Debug)]
pub struct ImportsConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The service's own database.
    pub database: DatabaseSettings,
    /// Where the records service is, such as `http://127.0.0.1:50051`.
    pub records_url: String,
    /// The time.
    pub clock: Clock,
    /// How the worker works.
    pub worker: WorkerSettings,
}

impl ImportsConfig {
    /// A configuration with the usual worker.
    pub fn new(
        listen: SocketAddr,
        database: DatabaseSettings,
        records_url: impl Into<String>,
        clock: Clock,
    ) -> Self {
        let worker = WorkerSettings::default();
        Self { listen, database, records_url: records_url.into(), clock, worker }
    }
}

/// How the worker of a replica works. The defaults are right for production;
/// tests make the times shorter.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// Imports at work at the same time, each of another practice.
    pub imports_at_once: usize,
    /// How long a replica that has stopped answering keeps an import from the
    /// others.
    pub lease: Duration,
    /// How often a worker says that it is still there: a third of the lease.
    pub renew_every: Duration,
    /// How often to look for an import that waits, when nobody says so.
    pub poll_every: Duration,
    /// The first pause after the records service did not answer; it doubles up
    /// to ten seconds.
    pub first_pause: Duration,
    /// How long to try again before the import is set aside as stalled.
    pub patience: Duration,
    /// How long a stalled import rests before a worker takes it up again.
    pub rest: Duration,
    /// Records in a chunk that is applied, 5,000 at most.
    pub chunk_records: u64,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            imports_at_once: 2,
            lease: Duration::from_secs(30),
            renew_every: Duration::from_secs(10),
            poll_every: Duration::from_secs(1),
            first_pause: Duration::from_millis(200),
            patience: Duration::from_mins(2),
            rest: Duration::from_secs(30),
            chunk_records: 1_000,
        }
    }
}
