//! The options for metrics, health checks and traces.

use std::{net::SocketAddr, str::FromStr};

use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct OperationOptions {
    /// The address for /metrics, /livez and /readyz of the records service; `off` for none
    #[arg(
        long,
        env = "CONCORD_RECORDS_METRICS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9464"
    )]
    pub(crate) records_metrics_listen: MetricsAddress,
    /// The address for /metrics, /livez and /readyz of the imports service; `off` for none
    #[arg(
        long,
        env = "CONCORD_IMPORTS_METRICS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9465"
    )]
    pub(crate) imports_metrics_listen: MetricsAddress,
    /// The OTLP/gRPC endpoint of an OpenTelemetry collector for traces, such as
    /// `http://127.0.0.1:4317`; by default that in `OTEL_EXPORTER_OTLP_ENDPOINT`, or none
    #[arg(long, env = "CONCORD_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
}

/// The environment variables of OpenTelemetry for the collector, in order of precedence.
const OTLP_VARIABLES: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

impl OperationOptions {
    /// The OTLP endpoint for traces, if any.
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
