//! The log and the traces. They hold ids, counts and reason codes, and never a name, a
//! reference or a value of a record.
//!
//! The log is one line per event on standard error. Traces are exported to an OpenTelemetry
//! collector, if one is configured.

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
pub use traces::{TracesError, send_trace};
pub(crate) use traces::{continue_trace, end_of_call};

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings of the log and the traces.
#[derive(Clone, Debug)]
pub struct TelemetrySettings {
    /// The filter of the log, such as `info` or `records=debug`; the variable
    /// `CONCORD_LOG` overrides it.
    pub filter: &'static str,
    /// The format of the log.
    pub format: LogFormat,
    /// The URL of an OpenTelemetry collector that receives traces by gRPC.
    pub otlp_endpoint: Option<String>,
    /// The name of the service in traces.
    pub service: &'static str,
}

/// The log, and the exporter of traces.
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
    /// Starts the log, and the traces if a collector is configured. A second start in one
    /// process has no effect.
    ///
    /// # Errors
    ///
    /// If the collector's URL is invalid.
    pub fn start(settings: TelemetrySettings) -> Result<Self, TracesError> {
        let TelemetrySettings { filter, format, otlp_endpoint, service } = settings;
        let filter =
            EnvFilter::try_from_env("CONCORD_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
        let traces = otlp_endpoint.map(|url| Traces::to(&url, service)).transpose()?;
        let colours = has_colours(io::stderr().is_terminal(), env::var_os("NO_COLOR").as_deref());
        let log = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours);
        let log = match format {
            LogFormat::Text => log.boxed(),
            // Only the span of a call, which holds its id, is written: there are no nested ones.
            LogFormat::Json => log.json().flatten_event(true).with_span_list(false).boxed(),
        };
        let subscriber = tracing_subscriber::registry()
            .with(traces.as_ref().map(Traces::layer))
            .with(log.with_filter(filter));
        // Fails only if a subscriber is set already, as in tests.
        if subscriber.try_init().is_ok() {
            panics::log();
        }
        Ok(Self { traces })
    }

    /// Exports the pending traces.
    pub async fn stop(self) {
        if let Some(traces) = self.traces {
            traces.stop().await;
        }
    }
}

/// Returns `true` if the log has colours: on a terminal, unless the variable `NO_COLOR` is
/// set and not empty.
fn has_colours(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_without_no_color() {
        assert!(has_colours(true, None) && has_colours(true, Some(OsStr::new(""))));
        assert!(!has_colours(true, Some(OsStr::new("1"))));
        assert!(!has_colours(false, None));
    }
}
