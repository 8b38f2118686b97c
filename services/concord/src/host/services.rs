//! Starts and stops the services in this process.

use std::net::SocketAddr;

use anyhow::{Context as _, anyhow};
use concord_db::{Outage, SchemaError, outage, redacted};
use concord_server::security::SecuritySettings;
use imports::ImportsConfig;
use records::RecordsConfig;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::ServiceName;

/// A running service.
#[derive(Debug)]
pub(crate) struct RunningService {
    name: &'static str,
    scheme: &'static str,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    stop: CancellationToken,
    /// None after the service has ended.
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

/// Starts the records service.
pub(crate) async fn start_records(config: RecordsConfig) -> anyhow::Result<RunningService> {
    let scheme = scheme(&config.security);
    let service =
        records::Application::build(config).await.context("the records service could not start")?;
    let (address, metrics) = (service.address(), service.metrics_address());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move { Ok(service.run_until(stopped).await?) });
    Ok(RunningService { name: "records", scheme, address, metrics, stop, task: Some(task) })
}

/// Starts the imports service.
pub(crate) async fn start_imports(config: ImportsConfig) -> anyhow::Result<RunningService> {
    let scheme = scheme(&config.security);
    let service =
        imports::Application::build(config).await.context("the imports service could not start")?;
    let (address, metrics) = (service.address(), service.metrics_address());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move { Ok(service.run_until(stopped).await?) });
    Ok(RunningService { name: "imports", scheme, address, metrics, stop, task: Some(task) })
}

impl RunningService {
    /// `records` or `imports`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The listen address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of its metrics, if enabled.
    pub(crate) fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// The URL of the service.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Waits for the end of the service. Without a stop request a service never ends.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let outcome = task.await;
        self.task = None;
        outcome?.with_context(|| format!("the {} service failed", self.name))
    }
}

fn scheme(security: &SecuritySettings) -> &'static str {
    if security.tls.is_some() { "https" } else { "http" }
}

/// The URL of a service that listens at `address` without TLS.
pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Shuts the services down gracefully, one after the other: the imports service first,
/// because it calls the records service.
pub(crate) async fn stop(mut services: Vec<RunningService>) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(mut service) = services.pop() {
        service.stop.cancel();
        outcome = outcome.and(service.ended().await);
    }
    outcome
}

/// Waits until one of the services ends.
pub(crate) async fn any_ended(services: &mut [RunningService]) -> anyhow::Result<()> {
    let ends = services.iter_mut().map(|service| Box::pin(service.ended()));
    futures::future::select_all(ends).await.0
}

/// Replaces the error of an unreachable database by one sentence. Returns any other error
/// unchanged.
pub(crate) fn explained(service: ServiceName, error: anyhow::Error) -> anyhow::Error {
    let service = service.as_str();
    let tables = error.chain().find_map(|cause| cause.downcast_ref::<SchemaError>());
    let cause = match tables {
        Some(SchemaError::Database(error)) if outage(error) == Some(Outage::NoConnection) => {
            redacted(error).to_string()
        }
        _ => return error,
    };
    // The cause may contain the URL, and the URL a password.
    let cause = if cause.contains("://") { String::new() } else { format!(": {cause}") };
    anyhow!(
        "the database of the {service} service cannot be reached{cause}: is it running, and \
         is --{service}-db correct?"
    )
}
