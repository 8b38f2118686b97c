//! The monitoring of a service: metrics, health and readiness.

use std::{net::SocketAddr, time::Duration};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;

use super::{
    health::{self, Readiness},
    http,
};
use crate::meter::{Meter, NONE, catalog};
use concord_db::Database;

/// The interval between two upkeeps of the meter.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The monitoring of a service: its metrics, the readiness of its database, and the port
/// that serves both.
#[derive(Debug)]
pub struct Monitoring {
    /// The metrics of the service.
    pub meter: Meter,
    /// The database of the service.
    pub db: Database,
    /// The port of `/metrics`, `/livez` and `/readyz`, if any.
    pub port: Option<MetricsPort>,
}

impl Monitoring {
    /// The monitoring of a service with this meter and this database.
    pub fn new(meter: Meter, db: Database, port: Option<MetricsPort>) -> Self {
        let scraped = db.clone();
        meter.on_scrape(move |meter| update_database_metrics(meter, &scraped));
        Self { meter, db, port }
    }

    /// Starts the background tasks, which run until the returned set is dropped. When
    /// `stop` is cancelled, the readiness becomes draining.
    pub(super) async fn start(
        self,
        health: HealthReporter,
        names: Vec<&'static str>,
        stop: CancellationToken,
    ) -> JoinSet<()> {
        let Self { meter, db, port } = self;
        let readiness = Readiness::default();
        health::set_status(&health, &names, readiness.state()).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(health::report(health, names, readiness.clone()));
        tasks.spawn(health::probe(db.probe(), meter.clone(), readiness.clone(), stop));
        tasks.spawn(run_upkeep(meter.clone()));
        if let Some(MetricsPort { listener, .. }) = port {
            tasks.spawn(http::serve(listener, meter, readiness, db));
        }
        tasks
    }
}

/// A port where `/metrics`, `/livez` and `/readyz` are served.
#[derive(Debug)]
pub struct MetricsPort {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsPort {
    /// Binds `address`, if one is given.
    ///
    /// # Errors
    ///
    /// If the address is in use or does not belong to this machine.
    pub async fn bind(address: Option<SocketAddr>) -> Result<Option<Self>, MetricsPortError> {
        let Some(address) = address else { return Ok(None) };
        let fail = |source| MetricsPortError { address, source };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Some(Self { listener, address }))
    }

    /// The address that it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The metrics port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for metrics and liveness: {source}; name another address, or `off`, with --records-metrics-listen or --imports-metrics-listen"
)]
pub struct MetricsPortError {
    address: SocketAddr,
    source: std::io::Error,
}

fn update_database_metrics(meter: &Meter, db: &Database) {
    let pool = db.pool_use();
    meter.gauge(&catalog::DB_CONNECTIONS, ["in_use"]).set(pool.in_use);
    meter.gauge(&catalog::DB_CONNECTIONS, ["idle"]).set(pool.idle);
    meter.gauge(&catalog::DB_CONNECTIONS_MAX, NONE).set(pool.max);
    let waiting = u32::try_from(db.writes_waiting()).unwrap_or(u32::MAX);
    meter.gauge(&catalog::DB_WRITES_WAITING, NONE).set(waiting);
    let takes_writes = db.write_outage().is_none();
    meter.gauge(&catalog::DATABASE_TAKES_WRITES, NONE).set(if takes_writes { 1.0 } else { 0.0 });
    for (outage, count) in db.failed_writes() {
        meter.counter(&catalog::DB_WRITES_FAILED, [outage.name()]).absolute(count);
    }
}

async fn run_upkeep(meter: Meter) {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        meter.run_upkeep();
    }
}
