//! `concord serve`: runs both services, or one of them, until a shutdown signal.

use std::net::SocketAddr;

use anyhow::Context as _;
use concord_core::clock::Clock;
use concord_server::telemetry::{LogFormat, Telemetry, TelemetrySettings};
use imports::ImportsConfig;
use records::RecordsConfig;

use crate::{
    cli::{ServeOptions, ServiceName},
    host::{
        services::{self, RunningService},
        shutdown,
    },
    render::output,
};

/// The default filter of the log; `CONCORD_LOG` overrides it.
const LOG_FILTER: &str = "info";

pub(super) async fn run(options: ServeOptions) -> anyhow::Result<u8> {
    let telemetry = Telemetry::start(telemetry(&options))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "concord");
    let served = serve(&options).await;
    telemetry.stop().await;
    served.map(|()| output::EXIT_OK)
}

async fn serve(options: &ServeOptions) -> anyhow::Result<()> {
    // Before the services start, so that no signal is missed.
    let shutdown_requested = tokio::spawn(shutdown::requested());
    let mut services = start(options).await?;
    for service in &services {
        announce(options, service);
        output::line(format_args!("{} listening on {}", service.name(), service.address()))?;
    }
    let ended = tokio::select! {
        requested = shutdown_requested => {
            report(options, "shutting down: draining calls in flight");
            requested?.context("cannot listen for signals")
        }
        ended = services::any_ended(&mut services) => {
            ended.and_then(|()| Err(anyhow::anyhow!("a service stopped unexpectedly")))
        }
    };
    ended.and(services::stop(services).await)
}

fn telemetry(options: &ServeOptions) -> TelemetrySettings {
    TelemetrySettings {
        filter: LOG_FILTER,
        format: options.log_format.into(),
        otlp_endpoint: options.operation.otlp_endpoint(),
        service: match options.service {
            None => "concord",
            Some(ServiceName::Records) => "concord-records",
            Some(ServiceName::Imports) => "concord-imports",
        },
    }
}

/// Reports the addresses of a service.
fn announce(options: &ServeOptions, service: &RunningService) {
    report(options, &format!("{} listens on {}", service.name(), service.url()));
    if let Some(address) = service.metrics_address() {
        let url = url("http", address);
        report(options, &format!("{} serves {url}/metrics, /livez and /readyz", service.name()));
    }
}

/// Writes a message for the operator: to standard error, or to the log in JSON format.
fn report(options: &ServeOptions, text: &str) {
    match LogFormat::from(options.log_format) {
        LogFormat::Text => output::note(text),
        LogFormat::Json => tracing::info!("{text}"),
    }
}

async fn start(options: &ServeOptions) -> anyhow::Result<Vec<RunningService>> {
    // Checks both database URLs before either service starts.
    for service in ServiceName::chosen(options.service) {
        options.databases.of(*service)?;
    }
    let clock = Clock::system(options.time_zone);
    let security = options.security.settings(options.service.is_none())?;
    let mut services = Vec::new();
    if options.service != Some(ServiceName::Imports) {
        let database = options.databases.of(ServiceName::Records)?;
        let database = options.database_limits.on(database);
        let config = RecordsConfig {
            security: security.clone(),
            limits: options.limits.into(),
            metrics_listen: options.operation.records_metrics_listen.0,
            migrate: !options.no_migrate,
            ..RecordsConfig::new(options.records_listen, database, clock.clone())
        };
        let started = services::start_records(config).await;
        services.push(started.map_err(|error| services::explained(ServiceName::Records, error))?);
    }
    if options.service != Some(ServiceName::Records) {
        let database = options.databases.of(ServiceName::Imports)?;
        let database = options.database_limits.on(database);
        let records_address =
            services.first().map_or(options.records_listen, RunningService::address);
        let scheme = if security.tls.is_some() { "https" } else { "http" };
        let records_url = options.records.clone().unwrap_or_else(|| url(scheme, records_address));
        let config = ImportsConfig {
            security,
            limits: options.limits.into(),
            records_tls: options.security.records_tls(),
            metrics_listen: options.operation.imports_metrics_listen.0,
            migrate: !options.no_migrate,
            ..ImportsConfig::new(options.imports_listen, database, records_url, clock)
        };
        let started = services::start_imports(config).await;
        services.push(started.map_err(|error| services::explained(ServiceName::Imports, error))?);
    }
    Ok(services)
}

/// The URL of a service on this machine, from its listen address. With TLS it has the name
/// `localhost`: certificates are for a name rather than for an address.
fn url(scheme: &str, listen: SocketAddr) -> String {
    match (scheme, listen.ip()) {
        ("https", ip) if ip.is_loopback() || ip.is_unspecified() => {
            format!("https://localhost:{}", listen.port())
        }
        (_, ip) if ip.is_unspecified() => format!("{scheme}://127.0.0.1:{}", listen.port()),
        _ => format!("{scheme}://{listen}"),
    }
}
