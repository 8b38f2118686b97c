//! The service as a value, so that one test can start it twice.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use concord_proto::pb::imports::import_service_server::ImportServiceServer;
use concord_server::{
    MetricsPort, Monitoring, Services, limits::Limits, meter::Meter, security::ServerSecurity,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{server::NamedService, service::Routes};

use crate::{
    config::ImportsConfig, error::StartError, gauges, grpc::ImportsApi, jobs,
    records_client::RecordsClient, schema, service::Imports, worker::Worker,
};

/// The imports service: connected to its migrated database and bound to its address.
#[derive(Debug)]
pub struct Application {
    listener: TcpListener,
    address: SocketAddr,
    security: ServerSecurity,
    imports: Imports,
    worker: Worker,
    /// Interval of the background jobs.
    jobs_every: Duration,
    metrics: Option<MetricsPort>,
    limits: Limits,
}

impl Application {
    /// Connects to the database, migrates or checks its schema, and binds the address.
    /// The records service may be down.
    pub async fn build(config: ImportsConfig) -> Result<Self, StartError> {
        let ImportsConfig {
            listen,
            database,
            migrate,
            records_url,
            records_tls,
            security,
            clock,
            upload,
            worker,
            jobs_every,
            metrics_listen,
            limits,
        } = config;
        let records = RecordsClient::new(&records_url, &records_tls, &security)?;
        let security = security.for_server(listen)?;
        let db = schema::open(database, migrate).await?;
        let listener = concord_server::bind(listen).await?;
        let address = listener.local_addr()?;
        let metrics = MetricsPort::bind(metrics_listen).await?;
        let imports = Imports::new(db, clock, records, upload, Meter::new("imports"));
        let worker = Worker::new(imports.clone(), worker);
        Ok(Self { listener, address, security, imports, worker, jobs_every, metrics, limits })
    }

    /// The address that the service listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address that serves the metrics.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsPort::address)
    }

    /// Serves calls and runs the worker until `stop` is cancelled. Then it shuts down
    /// gracefully: it finishes the calls and chunks in flight, releases the leases of
    /// its imports, so that another replica resumes them at once, and closes the
    /// database.
    pub async fn run_until(self, stop: CancellationToken) -> Result<(), StartError> {
        let Self { listener, security, imports, worker, jobs_every, metrics, limits, .. } = self;
        let mut routes = Routes::builder();
        routes.add_service(ImportServiceServer::new(ImportsApi(imports.clone())));
        let services = Services {
            routes,
            names: vec![ImportServiceServer::<ImportsApi>::NAME],
            connection_age: None,
            support_log: Some(Arc::new(imports.clone())),
            limits,
            monitoring: Monitoring::new(imports.meter.clone(), imports.db.clone(), metrics),
        };
        let records = imports.records.clone();
        let connection_check = tokio::spawn(async move { records.check().await });
        let gauges = tokio::spawn(gauges::run(imports.clone()));
        let worker = tokio::spawn(worker.run(imports.stop.clone()));
        let jobs = tokio::spawn(jobs::run(imports.clone(), jobs_every));
        let stopping = {
            let (stop, imports) = (stop.clone(), imports.stop.clone());
            tokio::spawn(async move {
                stop.cancelled().await;
                imports.cancel();
            })
        };
        let served = concord_server::serve(listener, services, security, stop).await;
        // Also when serving failed.
        imports.stop.cancel();
        stopping.abort();
        connection_check.abort();
        // The tasks end by themselves; a panic in one loses nothing.
        let _ = tokio::join!(worker, jobs, gauges);
        imports.db.close().await?;
        Ok(served?)
    }
}
