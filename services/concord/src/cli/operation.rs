//! How those who run the services see them.

use std::{net::SocketAddr, str::FromStr};

use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct OperationOptions {
    /// Where the records service serves /metrics, /livez and /readyz; `off` for
    /// nowhere
    #[arg(
        long,
        env = "CONCORD_RECORDS_METRICS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9464"
    )]
    pub(crate) records_metrics_listen: MetricsAddress,
    /// Where the imports service serves /metrics, /livez and /readyz; `off` for
    /// nowhere
    #[arg(
        long,
        env = "CONCORD_IMPORTS_METRICS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9465"
    )]
    pub(crate) imports_metrics_listen: MetricsAddress,
    /// Where traces are sent: an OpenTelemetry collector that takes them by gRPC,
    /// such as `http://127.0.0.1:4317`; nowhere without it.
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` is heeded too
    #[arg(long, env = "CONCORD_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
}

/// The variables in which OpenTelemetry names a collector itself, the first of them
/// first.
const OTLP_VARIABLES: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

impl OperationOptions {
    /// Where traces are sent.
    pub(crate) fn otlp_endpoint(&self) -> Option<String> {
        let named = || OTLP_VARIABLES.into_iter().find_map(|name| std::env::var(name).ok());
        self.otlp_endpoint.clone().or_else(named).filter(|url| !url.is_empty())
    }
}

/// An address, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetricsAddress(pub(crate) Option<SocketAddr>);

impl FromStr for MetricsAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text == "off" {
            return Ok(Self(None));
        }
        let address = text.parse();
        address
            .map(|address| Self(Some(address)))
            .map_err(|_| "not an address; write it as 127.0.0.1:9464, or write `off`")
    }
}
