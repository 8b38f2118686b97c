//! The configuration of the service.

use std::{net::SocketAddr, time::Duration};

use concord_core::clock::Clock;
use concord_db::DatabaseSettings;
use concord_server::{
    limits::Limits,
    security::{ClientTls, SecuritySettings},
};

/// The configuration of the imports service.
#[derive(Clone, Debug)]
pub struct ImportsConfig {
    /// Listen address; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The service's own database.
    pub database: DatabaseSettings,
    /// Whether to migrate the schema at the start. Without it, an outdated schema is an
    /// error.
    pub migrate: bool,
    /// URL of the records service, such as `http://127.0.0.1:50051`.
    pub records_url: String,
    /// TLS settings for the records service: how its certificate is verified, and the
    /// client certificate. Used when the URL is `https`.
    pub records_tls: ClientTls,
    /// Authentication of callers, TLS of the listener, and the secret with which the
    /// imports service authenticates to the records service.
    pub security: SecuritySettings,
    /// The clock.
    pub clock: Clock,
    /// Limits on the duration of uploads.
    pub upload: UploadSettings,
    /// Settings of the import worker.
    pub worker: WorkerSettings,
    /// Interval of the background jobs, which expire and purge imports and erase
    /// uploads of erased records; 5 s by default.
    pub jobs_every: Duration,
    /// Listen address of `/metrics`, `/livez` and `/readyz`; `None` disables them.
    pub metrics_listen: Option<SocketAddr>,
    /// Resource limits of the replica.
    pub limits: Limits,
}

impl ImportsConfig {
    /// A configuration with default settings.
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
            jobs_every: Duration::from_secs(5),
            metrics_listen: None,
            limits: Limits::default(),
        }
    }
}

/// Limits on the duration and minimum throughput of one upload. Each upload in progress
/// holds one of the upload permits and a batch in memory.
#[derive(Clone, Copy, Debug)]
pub struct UploadSettings {
    /// Time limit for the first message, the header.
    pub header_timeout: Duration,
    /// Period in which at least [`min_bytes`](Self::min_bytes) of records must arrive;
    /// otherwise the upload is aborted.
    pub idle_timeout: Duration,
    /// Minimum number of bytes of records per [`idle_timeout`](Self::idle_timeout).
    pub min_bytes: u64,
    /// Time limit from the header to the commit: 10 MB at 12 kB/s.
    pub total_timeout: Duration,
}

impl Default for UploadSettings {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            min_bytes: 64 * 1_024,
            total_timeout: Duration::from_mins(15),
        }
    }
}

/// Settings of the import worker of a replica. Tests use shorter times.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// Maximum number of imports that run concurrently, each of another practice.
    pub imports_at_once: usize,
    /// Duration of a lease: how long an import is blocked after its replica stopped
    /// responding.
    pub lease: Duration,
    /// Interval of the lease renewal: a third of the lease.
    pub renew_every: Duration,
    /// Interval of polling for imports to claim, when no notification arrives.
    pub poll_every: Duration,
    /// First backoff after the records service did not answer. Doubles up to 10 s, with
    /// jitter.
    pub initial_backoff: Duration,
    /// How long a failing page is retried before the import is stalled.
    pub stall_after: Duration,
    /// Backoff of a stalled import: how long until a worker may claim it again.
    pub stalled_backoff: Duration,
    /// Maximum number of records in an applied chunk, 5,000 at most.
    pub chunk_records: u64,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            imports_at_once: 2,
            lease: Duration::from_secs(30),
            renew_every: Duration::from_secs(10),
            poll_every: Duration::from_secs(1),
            initial_backoff: Duration::from_millis(200),
            stall_after: Duration::from_mins(2),
            stalled_backoff: Duration::from_secs(30),
            chunk_records: 1_000,
        }
    }
}
