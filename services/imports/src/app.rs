//! The service as a value: it can be started twice in one test.

use std::{net::SocketAddr, sync::Arc};

use sea_orm::DbErr;
use shared::{
    db::Database,
    pb::imports::import_service_server::ImportServiceServer,
    security::{InsecureStart, ServerSecurity},
    server::{self, ServeError, Services},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;

use crate::{
    config::ImportsConfig, grpc::ImportsApi, housekeeping, migrations::Migrator,
    records_client::RecordsClient, service::Imports, worker::Worker,
};

/// The service could not start, or broke.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would not be safe.
    #[error(transparent)]
    Insecure(#[from] InsecureStart),
    /// The URL of the records service is none.
    #[error("the URL of the records service: {0}")]
    RecordsUrl(#[from] tonic::transport::Error),
    /// The database cannot be reached, or not brought to the newest version.
    #[error("the database of the imports service: {0}")]
    Database(#[from] DbErr),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
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
}

impl Application {
    /// Connects to the database, brings its tables to the newest version, and
    /// binds the address. The records service need not be there yet.
    pub async fn build(config: ImportsConfig) -> Result<Self, StartError> {
        let ImportsConfig {
            listen,
            database,
            records_url,
            records_tls,
            security,
            clock,
            upload,
            worker,
        } = config;
        let records = RecordsClient::new(&records_url, &records_tls, &security)?;
        let security = security.for_server(listen)?;
        let db = Database::connect(&database).await?;
        db.migrate::<Migrator>().await?;
        let listener = server::bind(listen).await?;
        let address = listener.local_addr()?;
        let imports = Imports::new(db, clock, records, upload);
        let worker = Worker::new(imports.clone(), worker);
        Ok(Self { listener, address, security, imports, worker })
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves calls and works on imports until `stop` is cancelled. Then it
    /// finishes the calls and the chunks under way, gives its imports back, so
    /// that another replica goes on at once, and closes the database.
    pub async fn run_until(self, stop: CancellationToken) -> Result<(), StartError> {
        let Self { listener, address, security, imports, worker } = self;
        tracing::info!(%address, "imports service listening");
        let mut services = Services::default();
        services.routes.add_service(ImportServiceServer::new(ImportsApi(imports.clone())));
        services.support_log = Some(Arc::new(imports.clone()));
        services.names.push(ImportServiceServer::<ImportsApi>::NAME);
        let working = tokio::spawn(worker.run(imports.stop.clone()));
        let keeping = tokio::spawn(housekeeping::run(imports.clone(), imports.stop.clone()));
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
        if let Err(error) = working.await {
            tracing::error!(%error, "the worker did not end");
        }
        // It ends by itself; nothing is lost when it has panicked.
        let _ = keeping.await;
        imports.db.close().await?;
        Ok(served?)
    }
}
