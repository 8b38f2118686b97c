//! Runs the services in this process.

use std::net::SocketAddr;

use anyhow::Context as _;
use imports::ImportsConfig;
use records::RecordsConfig;
use shared::security::SecuritySettings;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A service that runs.
#[derive(Debug)]
pub(crate) struct Running {
    name: &'static str,
    scheme: &'static str,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    stop: CancellationToken,
    /// None once it has ended.
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

/// Starts the records service.
pub(crate) async fn start_records(config: RecordsConfig) -> anyhow::Result<Running> {
    let scheme = scheme(&config.security);
    let service =
        records::Application::build(config).await.context("the records service could not start")?;
    let (address, metrics) = (service.address(), service.metrics_address());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move { Ok(service.run_until(stopped).await?) });
    Ok(Running { name: "records", scheme, address, metrics, stop, task: Some(task) })
}

/// Starts the imports service.
pub(crate) async fn start_imports(config: ImportsConfig) -> anyhow::Result<Running> {
    let scheme = scheme(&config.security);
    let service =
        imports::Application::build(config).await.context("the imports service could not start")?;
    let (address, metrics) = (service.address(), service.metrics_address());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let task = tokio::spawn(async move { Ok(service.run_until(stopped).await?) });
    Ok(Running { name: "imports", scheme, address, metrics, stop, task: Some(task) })
}

impl Running {
    /// `records` or `imports`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its metrics are.
    pub(crate) fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Where others reach it.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Comes back when the service ends, which by itself it never should.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let outcome = task.await;
        self.task = None;
        outcome?.with_context(|| format!("the {} service broke", self.name))
    }
}

fn scheme(security: &SecuritySettings) -> &'static str {
    if security.tls.is_some() { "https" } else { "http" }
}

/// Where others reach a service that listens at `address`, without encryption.
pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Ends the services, one after the other: the imports service first, because
/// it calls the other one.
pub(crate) async fn stop(mut services: Vec<Running>) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(mut service) = services.pop() {
        service.stop.cancel();
        outcome = outcome.and(service.ended().await);
    }
    outcome
}

/// Comes back when one of the services ends.
pub(crate) async fn any_ended(services: &mut [Running]) -> anyhow::Result<()> {
    let ends = services.iter_mut().map(|service| Box::pin(service.ended()));
    futures::future::select_all(ends).await.0
}
