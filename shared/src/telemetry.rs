//! The log and the traces, with ids, counts and reason codes, and never a name, a
//! reference or a value of a record.
//!
//! The log is one line per event on standard error. Traces go to an OpenTelemetry
//! collector, when one is named.

mod panics;
mod traces;

use std::{
    env,
    ffi::OsStr,
    fmt,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use traces::Traces;
pub use traces::TracesError;
pub(crate) use traces::{continue_trace, end_of_call};

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is told, how, and to whom.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// What the log shows, such as `info` or `records=debug`; the variable
    /// `CONCORD_LOG` overrides it.
    pub filter: &'static str,
    /// How the log is written.
    pub format: LogFormat,
    /// The URL of an OpenTelemetry collector that takes traces by gRPC.
    pub otlp_endpoint: Option<String>,
    /// Who tells it: the name of the service in traces.
    pub service: &'static str,
}

/// The log, and the traces that are still to be sent.
#[must_use = "traces that were not sent are lost without a stop"]
pub struct Telemetry {
    traces: Option<Traces>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("traces", &self.traces.is_some()).finish()
    }
}

impl Telemetry {
    /// Starts the log, and the traces when a collector is named. A second start in
    /// one process does nothing.
    ///
    /// # Errors
    ///
    /// When the collector's URL is none.
    pub fn start(settings: TelemetrySettings) -> Result<Self, TracesError> {
        let TelemetrySettings { filter, format, otlp_endpoint, service } = settings;
        let filter =
            EnvFilter::try_from_env("CONCORD_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
        let traces = otlp_endpoint.map(|url| Traces::to(&url, service)).transpose()?;
        let colours = has_colours(io::stderr().is_terminal(), env::var_os("NO_COLOR").as_deref());
        let log = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours);
        let log = match format {
            LogFormat::Text => log.boxed(),
            // The span of a call holds its id; there is none inside of it.
            LogFormat::Json => log.json().flatten_event(true).with_span_list(false).boxed(),
        };
        let subscriber = tracing_subscriber::registry()
            .with(traces.as_ref().map(Traces::layer))
            .with(log.with_filter(filter));
        // It fails only when one is there already, as in tests.
        if subscriber.try_init().is_ok() {
            panics::log();
        }
        Ok(Self { traces })
    }

    /// Sends the traces that are still to be sent.
    pub async fn stop(self) {
        if let Some(traces) = self.traces {
            traces.stop().await;
        }
    }
}

/// Whether the log has colours: on a terminal, unless the variable `NO_COLOR` is set to
/// something.
fn has_colours(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Sends the trace of what is under way here on with a call to another service.
pub fn send_trace(metadata: &mut tonic::metadata::MetadataMap) {
    traces::send(metadata);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_and_can_be_turned_off() {
        assert!(has_colours(true, None) && has_colours(true, Some(OsStr::new(""))));
        assert!(!has_colours(true, Some(OsStr::new("1"))));
        assert!(!has_colours(false, None));
    }
}
