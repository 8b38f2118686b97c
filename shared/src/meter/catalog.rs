//! Everything that is counted, in the words of `docs/metrics.md`.

use std::fmt::Write as _;

use metrics::{Key, Recorder};

use super::METADATA;

/// How a number behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// How often something took how long.
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

/// Which service counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Both of them.
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

    /// Whether the service of that name counts it.
    pub fn is(self, service: &str) -> bool {
        self == Self::Both || self.name() == service
    }
}

/// Something that is counted.
#[derive(Debug)]
pub struct Metric {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Which service counts it.
    pub of: Of,
    /// What it is told apart by, beside `service`.
    pub labels: &'static [&'static str],
    /// What it tells.
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

    /// Shows a zero from the start, so that the first rise can be seen.
    pub(super) fn begin(&self, recorder: &impl Recorder) {
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

        /// Everything that is counted.
        pub static ALL: &[&Metric] = &[$(&$id),+];
    };
}

metrics! {
    /// Calls that have ended, by RPC and gRPC code. A stream counts when it ends.
    CALLS: Counter, Both, "concord_calls_total" ["rpc", "code"];
    /// How long calls took, in seconds; not of RPCs that answer with a stream.
    CALL_SECONDS: Histogram, Both, "concord_call_seconds" ["rpc"];
    /// Calls under way, those that upload and those that answer with a stream too.
    CALLS_IN_FLIGHT: Gauge, Both, "concord_calls_in_flight" ["rpc"];
    /// Answers that are being streamed at this moment.
    STREAMS_OPEN: Gauge, Both, "concord_streams_open" ["rpc"];
    /// Bytes of the messages of calls that are being read, and of those that wait for their turn.
    MESSAGE_BYTES: Gauge, Both, "concord_message_bytes" [];
    /// Bytes of answers that wait until their callers take them, in streams too.
    ANSWER_BYTES: Gauge, Both, "concord_answer_bytes" [];
    /// Whether the database answers: 1 or 0.
    DATABASE_UP: Gauge, Both, "concord_database_up" [];
    /// Whether the database takes writes, as far as is known: 0 while it is read-only, and for 30 seconds after its disk refused a write.
    DATABASE_TAKES_WRITES: Gauge, Both, "concord_database_takes_writes" [];
    /// Writes that the database could not do, by cause: `no_connection`, `read_only`, `disk_full`, `disk_error`, `lock_timeout`, `statement_timeout` or `rolled_back`.
    DB_WRITES_FAILED: Counter, Both, "concord_db_writes_failed_total" ["cause"];
    /// Connections to the database, by state: `in_use` or `idle`. On SQLite, those that read.
    DB_CONNECTIONS: Gauge, Both, "concord_db_connections" ["state"];
    /// Connections to the database at the most.
    DB_CONNECTIONS_MAX: Gauge, Both, "concord_db_connections_max" [];
    /// Writes that wait for the one writer of SQLite; always 0 on PostgreSQL.
    DB_WRITES_WAITING: Gauge, Both, "concord_db_writes_waiting" [];
    /// How often work in the background could not be done for one record, by kind of work. It is tried again.
    JOB_FAILURES: Counter, Both, "concord_job_failures_total" ["job"];
    /// Always 1; the version is in the label.
    BUILD_INFO: Gauge, Both, "concord_build_info" ["version"];

    /// Batches of changes that this replica has given positions to.
    SEQUENCED_BATCHES: Counter, Records, "concord_sequenced_batches_total" ["product"];
    /// Changes that this replica has given positions to.
    SEQUENCED_CHANGES: Counter, Records, "concord_sequenced_changes_total" ["product"];
    /// How long it took to give positions to a batch of each product that had any, in seconds.
    SEQUENCE_SECONDS: Histogram, Records, "concord_sequence_seconds" [];
    /// The newest position in the feed of a product.
    FEED_HEAD: Gauge, Records, "concord_feed_head_position" ["product"];
    /// Named subscriptions, by whether a stream of them is open: `open` or `closed`.
    SUBSCRIPTIONS: Gauge, Records, "concord_feed_subscriptions" ["product", "stream"];
    /// Positions between the head of the feed and what the slowest subscription has acknowledged.
    FEED_LAG: Gauge, Records, "concord_feed_lag_positions" ["product", "stream"];
    /// Committed changes that have no position yet; counted up to 10,000.
    FEED_PENDING: Gauge, Records, "concord_feed_pending_changes" ["product"];
    /// How old the oldest of them is, in seconds; above a few, the sequencers do not keep up.
    FEED_PENDING_AGE: Gauge, Records, "concord_feed_pending_age_seconds" ["product"];

    /// Imports that have not ended, by state: `RECEIVING`, `SEALED` (they wait), `RESOLVING`, `APPLYING` or `STALLED`.
    IMPORTS: Gauge, Imports, "concord_imports" ["state"];
    /// How long the import has waited that waits longest for a worker, in seconds.
    IMPORTS_WAITING_AGE: Gauge, Imports, "concord_imports_waiting_age_seconds" [];
    /// Rounds of imports that this replica has brought to their end, by the state that they ended in.
    IMPORTS_ENDED: Counter, Imports, "concord_imports_ended_total" ["state"];
    /// How often this replica has set an import aside because it could not go on.
    IMPORTS_STALLED: Counter, Imports, "concord_imports_stalled_total" [];
    /// Records that this replica has brought to a verdict by sending them to the records service.
    RECORDS_APPLIED: Counter, Imports, "concord_import_records_total" ["kind", "verdict"];
    /// How long the records service took for a chunk of records, in seconds, faults included.
    CHUNK_SECONDS: Histogram, Imports, "concord_import_chunk_seconds" [];
    /// Batches that this replica takes in at this moment.
    UPLOADS: Gauge, Imports, "concord_import_uploads" [];
    /// Batches that this replica takes in at the same time at the most.
    UPLOADS_MAX: Gauge, Imports, "concord_import_uploads_max" [];
}

/// The table of `docs/metrics.md`.
pub fn table() -> String {
    let mut table =
        String::from("| Name | Kind | Of | Labels | What it tells |\n|---|---|---|---|---|\n");
    for Metric { name, kind, of, labels, help } in ALL {
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let (kind, of, help) = (kind.name(), of.name(), help.trim());
        // Writing to a String does not fail.
        let _ = writeln!(table, "| `{name}` | {kind} | {of} | {labels} | {help} |");
    }
    table
}
