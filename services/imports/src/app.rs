//! The service as a value: it can be started twice in one test.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sea_orm::DbErr;
use shared::{
    db::TablesError,
    meter::Meter,
    pb::imports::import_service_server::ImportServiceServer,
    reach::UrlError,
    security::{InsecureStart, ServerSecurity},
    server::{
        self, MetricsPort, MetricsPortError, Operation, ServeError, Services, limits::Limits,
    },
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{server::NamedService, service::Routes};

use crate::{
    config::ImportsConfig, gauges, grpc::ImportsApi, housekeeping, records_client::RecordsClient,
    service::Imports, tables, worker::Worker,
};

/// The service could not start, or broke.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would not be safe.
    #[error(transparent)]
    Insecure(#[from] InsecureStart),
    /// The URL of the records service is none.
    #[error("the URL of the records service (--records): {0}")]
    RecordsUrl(#[from] UrlError),
    /// The certificates for the records service cannot be used.
    #[error("the certificates for the records service (--records-ca, --tls-cert, --tls-key): {0}")]
    RecordsTls(#[from] tonic::transport::Error),
    /// The database cannot be used.
    #[error("the database of the imports service: {0}")]
    Database(#[from] DbErr),
    /// The tables are not those of this program.
    #[error("the database of the imports service: {0}")]
    Tables(#[from] TablesError),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
    /// The port of the metrics cannot be opened.
    #[error(transparent)]
    Metrics(#[from] MetricsPortError),
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// The imports service: connected, migrated, and bound to its address.
#[derive(Debug)]
pub struct Application {
    listener: TcpListener,
    address: SocketAddr,
    security: ServerSecurity,
    imports: Imports,
    worker: Worker,
    /// How often it looks for what is to be removed.
    housekeeping: Duration,
    metrics: Option<MetricsPort>,
    limits: Limits,
}

impl Application {
    /// Connects to the database, sees to its tables, and binds the address. The records service need not be there yet.
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
            housekeeping_every,
            metrics_listen,
            limits,
        } = config;
        let records = RecordsClient::new(&records_url, &records_tls, &security)?;
        let security = security.for_server(listen)?;
        let db = tables::open(database, migrate).await?;
        let listener = server::bind(listen).await?;
        let address = listener.local_addr()?;
        let metrics = MetricsPort::bind(metrics_listen).await?;
        let imports = Imports::new(db, clock, records, upload, Meter::new("imports"));
        let worker = Worker::new(imports.clone(), worker);
        let housekeeping = housekeeping_every;
        Ok(Self { listener, address, security, imports, worker, housekeeping, metrics, limits })
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its metrics are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsPort::address)
    }

    /// Serves calls and works on imports until `stop` is cancelled. Then it
    /// finishes the calls and the chunks under way, gives its imports back, so
    /// that another replica goes on at once, and closes the database.
    pub async fn run_until(self, stop: CancellationToken) -> Result<(), StartError> {
        let Self { listener, security, imports, worker, housekeeping, metrics, limits, .. } = self;
        let mut routes = Routes::builder();
        routes.add_service(ImportServiceServer::new(ImportsApi(imports.clone())));
        let services = Services {
            routes,
            names: vec![ImportServiceServer::<ImportsApi>::NAME],
            connection_age: None,
            support_log: Some(Arc::new(imports.clone())),
            limits,
            operation: Operation::new(imports.meter.clone(), imports.db.clone(), metrics),
        };
        let records = imports.records.clone();
        let checking = tokio::spawn(async move { records.check().await });
        let looking = tokio::spawn(gauges::run(imports.clone()));
        let working = tokio::spawn(worker.run(imports.stop.clone()));
        let keeping =
            tokio::spawn(housekeeping::run(imports.clone(), housekeeping, imports.stop.clone()));
        let stopping = {
            let (stop, imports) = (stop.clone(), imports.stop.clone());
            tokio::spawn(async move {
                stop.cancelled().await;
                imports.cancel();
            })
        };
        let served = server::serve(listener, services, security, stop).await;
        // Also when serving broke.
        imports.stop.cancel();
        stopping.abort();
        checking.abort();
        // They end by themselves; nothing is lost when one has panicked.
        let _ = tokio::join!(working, keeping, looking);
        imports.db.close().await?;
        Ok(served?)
    }
}
