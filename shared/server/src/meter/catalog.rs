//! The catalogue of all metrics, with the texts of `docs/monitoring.md`.

use std::fmt::Write as _;

use metrics::{Key, Level, Metadata, Recorder};

/// The metadata of all metrics: their target and level.
pub(super) const METADATA: Metadata<'static> = Metadata::new("concord", Level::INFO, None);

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only increases.
    Counter,
    /// A number that can go up and down.
    Gauge,
    /// A distribution of durations.
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The services that expose a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Both services.
    Both,
    /// The records service.
    Records,
    /// The imports service.
    Imports,
}

impl Of {
    const fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Records => "records",
            Self::Imports => "imports",
        }
    }

    /// Returns `true` if the service with this name exposes the metric.
    pub fn is(self, service: &str) -> bool {
        self == Self::Both || self.name() == service
    }
}

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The services that expose it.
    pub of: Of,
    /// Its labels, beside `service`.
    pub labels: &'static [&'static str],
    /// Its description.
    pub help: &'static str,
}

impl Metric {
    pub(super) fn describe(&self, recorder: &impl Recorder) {
        let (name, help) = (self.name.into(), self.help.trim().into());
        match self.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram => recorder.describe_histogram(name, None, help),
        }
    }

    /// Registers the metric with zero, so that the first increase shows in rates.
    pub(super) fn register(&self, recorder: &impl Recorder) {
        let key = Key::from_static_name(self.name);
        match self.kind {
            Kind::Counter => drop(recorder.register_counter(&key, &METADATA)),
            Kind::Gauge => drop(recorder.register_gauge(&key, &METADATA)),
            Kind::Histogram => drop(recorder.register_histogram(&key, &METADATA)),
        }
    }
}

/// The metrics as constants, and [`ALL`] of them.
macro_rules! metrics {
    ($(#[doc = $help:literal] $id:ident: $kind:ident, $of:ident, $name:literal [$($label:literal),*];)+) => {
        $(
            #[doc = $help]
            pub static $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                of: Of::$of,
                labels: &[$($label),*],
                help: $help,
            };
        )+

        /// All metrics.
        pub static ALL: &[&Metric] = &[$(&$id),+];
    };
}

metrics! {
    /// Calls that have ended, by RPC and gRPC code. A stream counts when it ends.
    CALLS: Counter, Both, "concord_calls_total" ["rpc", "code"];
    /// How long calls took, in seconds; not of RPCs that answer with a stream.
    CALL_SECONDS: Histogram, Both, "concord_call_seconds" ["rpc"];
    /// Calls in progress, including uploads and streams.
    CALLS_IN_FLIGHT: Gauge, Both, "concord_calls_in_flight" ["rpc"];
    /// Open response streams.
    STREAMS_OPEN: Gauge, Both, "concord_streams_open" ["rpc"];
    /// Bytes of the request messages of calls that are being read or are queued.
    MESSAGE_BYTES: Gauge, Both, "concord_message_bytes" [];
    /// Bytes of responses that callers have not read yet, including streams.
    ANSWER_BYTES: Gauge, Both, "concord_answer_bytes" [];
    /// Whether the database responds: 1 or 0.
    DATABASE_UP: Gauge, Both, "concord_database_up" [];
    /// Whether the database accepts writes: 0 while it is read-only, and for 30 seconds after a write failed because of its disk.
    DATABASE_TAKES_WRITES: Gauge, Both, "concord_database_takes_writes" [];
    /// Writes that failed because of the database, by cause: `no_connection`, `read_only`, `disk_full`, `disk_error`, `lock_timeout`, `statement_timeout` or `rolled_back`.
    DB_WRITES_FAILED: Counter, Both, "concord_db_writes_failed_total" ["cause"];
    /// Connections to the database, by state: `in_use` or `idle`. On SQLite, read connections only.
    DB_CONNECTIONS: Gauge, Both, "concord_db_connections" ["state"];
    /// Maximum number of connections to the database.
    DB_CONNECTIONS_MAX: Gauge, Both, "concord_db_connections_max" [];
    /// Writes queued for the single writer of SQLite; always 0 on PostgreSQL.
    DB_WRITES_WAITING: Gauge, Both, "concord_db_writes_waiting" [];
    /// Failures of background jobs, by job. The job is retried.
    JOB_FAILURES: Counter, Both, "concord_job_failures_total" ["job"];
    /// Always 1; the version is a label.
    BUILD_INFO: Gauge, Both, "concord_build_info" ["version"];

    /// Batches of changes that this replica has sequenced.
    SEQUENCED_BATCHES: Counter, Records, "concord_sequenced_batches_total" ["product"];
    /// Changes that this replica has sequenced.
    SEQUENCED_CHANGES: Counter, Records, "concord_sequenced_changes_total" ["product"];
    /// How long it took to sequence a batch of each product that had any, in seconds.
    SEQUENCE_SECONDS: Histogram, Records, "concord_sequence_seconds" [];
    /// The newest position in the feed of a product.
    FEED_HEAD: Gauge, Records, "concord_feed_head_position" ["product"];
    /// Named subscriptions, by whether a stream of them is open: `open` or `closed`.
    SUBSCRIPTIONS: Gauge, Records, "concord_feed_subscriptions" ["product", "stream"];
    /// Positions between the head of the feed and what the slowest subscription has acknowledged.
    FEED_LAG: Gauge, Records, "concord_feed_lag_positions" ["product", "stream"];
    /// Committed changes that have no position yet; counted up to 10,000.
    FEED_PENDING: Gauge, Records, "concord_feed_pending_changes" ["product"];
    /// Age of the oldest committed change without a position, in seconds; above a few, the sequencers do not keep up.
    FEED_PENDING_AGE: Gauge, Records, "concord_feed_pending_age_seconds" ["product"];

    /// Imports that have not ended, by state: `RECEIVING`, `SEALED` (queued), `RESOLVING`, `APPLYING` or `STALLED`.
    IMPORTS: Gauge, Imports, "concord_imports" ["state"];
    /// Longest time that an import has waited for a worker, in seconds.
    IMPORTS_WAITING_AGE: Gauge, Imports, "concord_imports_waiting_age_seconds" [];
    /// Rounds of imports that this replica has ended, by their final state.
    IMPORTS_ENDED: Counter, Imports, "concord_imports_ended_total" ["state"];
    /// How often this replica has stalled an import because it could not proceed.
    IMPORTS_STALLED: Counter, Imports, "concord_imports_stalled_total" [];
    /// Records with a verdict from the records service, by this replica.
    RECORDS_APPLIED: Counter, Imports, "concord_import_records_total" ["kind", "verdict"];
    /// How long the records service took for a chunk of records, in seconds, including errors.
    CHUNK_SECONDS: Histogram, Imports, "concord_import_chunk_seconds" [];
    /// Batches that this replica is receiving.
    UPLOADS: Gauge, Imports, "concord_import_uploads" [];
    /// Maximum number of batches that this replica receives at the same time.
    UPLOADS_MAX: Gauge, Imports, "concord_import_uploads_max" [];
}

/// The table of `docs/monitoring.md`.
pub fn table() -> String {
    let mut table =
        String::from("| Name | Kind | Of | Labels | Description |\n|---|---|---|---|---|\n");
    for Metric { name, kind, of, labels, help } in ALL {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let (kind, of, help) = (kind.name(), of.name(), help.trim());
        // Writing to a String does not fail.
        let _ = writeln!(table, "| `{name}` | {kind} | {of} | {labels} | {help} |");
    }
    table
}
