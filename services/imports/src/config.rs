//! What the service is told when it starts.

use std::{net::SocketAddr, time::Duration};

use shared::{
    clock::Clock,
    db::DatabaseSettings,
    security::{ClientTls, SecuritySettings},
    server::limits::Limits,
};

/// Everything that the service needs to know.
#[derive(Clone, Debug)]
pub struct ImportsConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The service's own database.
    pub database: DatabaseSettings,
    /// Whether to bring the tables to the newest version first. Without it, tables
    /// that are not are a reason not to start.
    pub migrate: bool,
    /// Where the records service is, such as `http://127.0.0.1:50051`.
    pub records_url: String,
    /// How it checks the records service, and shows its own certificate, when that
    /// URL begins with `https`.
    pub records_tls: ClientTls,
    /// How callers prove who they are, and how the connections are encrypted; and the
    /// secret that the imports service proves itself with.
    pub security: SecuritySettings,
    /// The time.
    pub clock: Clock,
    /// How long uploads may take.
    pub upload: UploadSettings,
    /// How the worker works.
    pub worker: WorkerSettings,
    /// How often it looks for what is to be removed: imports whose time has come, and
    /// records that were erased; 5 s.
    pub housekeeping_every: Duration,
    /// Where `/metrics`, `/livez` and `/readyz` are; nowhere without it.
    pub metrics_listen: Option<SocketAddr>,
    /// What the replica takes at most.
    pub limits: Limits,
}

impl ImportsConfig {
    /// A configuration with the usual uploads and the usual worker.
    pub fn new(
        listen: SocketAddr,
        database: DatabaseSettings,
        records_url: impl Into<String>,
        clock: Clock,
    ) -> Self {
        Self {
            listen,
            database,
            migrate: true,
            records_url: records_url.into(),
            records_tls: ClientTls::default(),
            security: SecuritySettings::default(),
            clock,
            upload: UploadSettings::default(),
            worker: WorkerSettings::default(),
            housekeeping_every: Duration::from_secs(5),
            metrics_listen: None,
            limits: Limits::default(),
        }
    }
}

/// How long one upload may take, and how slow it may be: it has a place among those
/// that are in memory.
#[derive(Clone, Copy, Debug)]
pub struct UploadSettings {
    /// How long to wait for its header.
    pub header: Duration,
    /// The time in which [`least_bytes`](Self::least_bytes) of records must come, or the
    /// end.
    pub idle: Duration,
    /// How many bytes of records must come in that time.
    pub least_bytes: u64,
    /// How long to wait for the commit: ten megabytes at 12 kB/s.
    pub whole: Duration,
}

impl Default for UploadSettings {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            least_bytes: 64 * 1_024,
            whole: Duration::from_mins(15),
        }
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
