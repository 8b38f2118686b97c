//! What people and machines who run a service see of it.

use std::{net::SocketAddr, time::Duration};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;

use super::{
    health::{self, Readiness},
    http,
};
use crate::{
    db::Database,
    meter::{Meter, NONE, catalog},
};

/// How often the meter sums up what it has taken in.
const UPKEEP: Duration = Duration::from_secs(5);

/// A service as its operators see it: what it counts, the database that it cannot do
/// without, and the port where both are told.
#[derive(Debug)]
pub struct Operation {
    /// What the service counts.
    pub meter: Meter,
    /// Its database.
    pub db: Database,
    /// Where `/metrics`, `/livez` and `/readyz` are; nowhere without it.
    pub port: Option<MetricsPort>,
}

impl Operation {
    /// A service with that meter over that database.
    pub fn new(meter: Meter, db: Database, port: Option<MetricsPort>) -> Self {
        let seen = db.clone();
        meter.at_each_reading(move |meter| show_use(meter, &seen));
        Self { meter, db, port }
    }

    /// Tells of the service in the background, until the answer is dropped. While
    /// `stop` is cancelled, the service is draining.
    pub(super) async fn start(
        self,
        health: HealthReporter,
        names: Vec<&'static str>,
        stop: CancellationToken,
    ) -> JoinSet<()> {
        let Self { meter, db, port } = self;
        let readiness = Readiness::default();
        health::tell(&health, &names, readiness.state()).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(health::report(health, names, readiness.clone()));
        tasks.spawn(health::probe(db.probe(), meter.clone(), readiness.clone(), stop));
        tasks.spawn(sum_up(meter.clone()));
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
    /// When the address is in use or is not of this machine.
    pub async fn bind(address: Option<SocketAddr>) -> Result<Option<Self>, MetricsPortError> {
        let Some(address) = address else { return Ok(None) };
        let fail = |source| MetricsPortError { address, source };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Some(Self { listener, address }))
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The port of the metrics cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for metrics and liveness: {source}; name another address, or `off`, with --records-metrics-listen or --imports-metrics-listen"
)]
pub struct MetricsPortError {
    address: SocketAddr,
    source: std::io::Error,
}

fn show_use(meter: &Meter, db: &Database) {
    let pool = db.pool_use();
    meter.gauge(&catalog::DB_CONNECTIONS, ["in_use"]).set(pool.in_use);
    meter.gauge(&catalog::DB_CONNECTIONS, ["idle"]).set(pool.idle);
    meter.gauge(&catalog::DB_CONNECTIONS_MAX, NONE).set(pool.max);
    let waiting = u32::try_from(db.writes_waiting()).unwrap_or(u32::MAX);
    meter.gauge(&catalog::DB_WRITES_WAITING, NONE).set(waiting);
    let takes_writes = db.takes_no_writes().is_none();
    meter.gauge(&catalog::DATABASE_TAKES_WRITES, NONE).set(if takes_writes { 1.0 } else { 0.0 });
    for (outage, count) in db.failed_writes() {
        meter.counter(&catalog::DB_WRITES_FAILED, [outage.name()]).absolute(count);
    }
}

async fn sum_up(meter: Meter) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        meter.sum_up();
    }
}
