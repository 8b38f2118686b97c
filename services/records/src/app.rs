//! One replica of the service: build, run, graceful shutdown.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use concord_db::SchemaError;
use concord_proto::pb::{
    internal::ingest_service_server::IngestServiceServer,
    records::{
        change_service_server::ChangeServiceServer, client_service_server::ClientServiceServer,
        connection_service_server::ConnectionServiceServer,
        contact_service_server::ContactServiceServer, history_service_server::HistoryServiceServer,
        person_service_server::PersonServiceServer, support_service_server::SupportServiceServer,
    },
};
use concord_server::{
    MetricsPort, MetricsPortError, Monitoring, ServeError, Services,
    limits::{Limits, MAX_SERVICE_MESSAGE_BYTES},
    meter::Meter,
    security::{InsecureStart, ServerSecurity},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{server::NamedService, service::Routes};

use crate::{
    config::RecordsConfig,
    feed::{Feed, sequencer},
    gauges,
    grpc::Api,
    jobs,
    record_loader::RecordLoader,
    schema,
    service::Records,
};

/// Maximum size in bytes of a message of the imports service: a chunk.
pub(crate) const MAX_CHUNK_BYTES: usize = MAX_SERVICE_MESSAGE_BYTES;

/// The full names of the gRPC services.
const SERVICES: [&str; 7] = [
    ConnectionServiceServer::<Api>::NAME,
    ClientServiceServer::<Api>::NAME,
    PersonServiceServer::<Api>::NAME,
    ContactServiceServer::<Api>::NAME,
    HistoryServiceServer::<Api>::NAME,
    ChangeServiceServer::<Api>::NAME,
    SupportServiceServer::<Api>::NAME,
];

/// Why the service could not start, or failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is insecure.
    #[error(transparent)]
    Insecure(#[from] InsecureStart),
    /// The address cannot be bound.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
    /// The port of the metrics cannot be opened.
    #[error(transparent)]
    Metrics(#[from] MetricsPortError),
    /// The database cannot be used.
    #[error("the database of the records service: {0}")]
    Database(#[from] sea_orm::DbErr),
    /// The schema is behind, or incompatible.
    #[error("the database of the records service: {0}")]
    Schema(#[from] SchemaError),
    /// The server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A replica that is ready to run.
#[derive(Debug)]
pub struct Application {
    listener: TcpListener,
    address: SocketAddr,
    security: ServerSecurity,
    records: Records,
    connection_age: Duration,
    meter: Meter,
    metrics: Option<MetricsPort>,
    limits: Limits,
    /// Stops the feed when the replica stops.
    feed_stop: CancellationToken,
}

impl Application {
    /// Connects to the database, migrates or checks its schema, and binds the address.
    ///
    /// # Errors
    ///
    /// When one of these cannot be done; the error says which.
    pub async fn build(config: RecordsConfig) -> Result<Self, StartError> {
        let RecordsConfig { listen, database, migrate, clock, security, connection_age, .. } =
            config;
        let RecordsConfig { purge_after, feed_retention, metrics_listen, limits, .. } = config;
        let security = security.for_server(listen)?;
        let db = schema::open(database, migrate).await?;
        let listener = concord_server::bind(listen).await?;
        let address = listener.local_addr()?;
        let metrics = MetricsPort::bind(metrics_listen).await?;
        let meter = Meter::new("records");
        let feed_stop = CancellationToken::new();
        let feed = Feed::new(db.clone(), clock.clone(), feed_stop.clone());
        let loader = RecordLoader::start(&db);
        let records = Records {
            db,
            loader,
            analyze_schedule: Arc::default(),
            clock,
            feed,
            purge_after,
            feed_retention,
        };
        Ok(Self {
            listener,
            address,
            security,
            records,
            connection_age,
            meter,
            metrics,
            limits,
            feed_stop,
        })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the metrics.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsPort::address)
    }

    /// Serves until `stop` is cancelled, then shuts down gracefully: streams end with a
    /// cursor, calls in flight complete, and the database is closed.
    ///
    /// # Errors
    ///
    /// When the server fails.
    pub async fn run_until(self, stop: CancellationToken) -> Result<(), StartError> {
        let Self { listener, security, records, connection_age, feed_stop, .. } = self;
        let Self { meter, metrics, limits, .. } = self;
        let sequencer = tokio::spawn(sequencer::run(records.feed.clone(), meter.clone()));
        let notifications = tokio::spawn(sequencer::listen(records.feed.clone()));
        let jobs = tokio::spawn(jobs::run(records.clone(), meter.clone()));
        let gauges = tokio::spawn(gauges::run(records.clone(), meter.clone()));
        let monitoring = Monitoring::new(meter, records.db.clone(), metrics);
        let services = services(&records, connection_age, limits, monitoring);
        // The streams must end first: the drain waits for all calls in flight.
        let drop_guard = feed_stop.clone().drop_guard();
        let streams = async {
            stop.cancelled().await;
            feed_stop.cancel();
            std::future::pending::<()>().await;
        };
        let served = tokio::select! {
            served = concord_server::serve(listener, services, security, stop.clone()) => served,
            () = streams => Ok(()),
        };
        drop(drop_guard);
        // The tasks end with the feed. A panic of one of them loses nothing.
        let _ = tokio::join!(sequencer, notifications, jobs, gauges);
        records.db.close().await?;
        Ok(served?)
    }
}

fn services(
    records: &Records,
    connection_age: Duration,
    limits: Limits,
    monitoring: Monitoring,
) -> Services {
    let api = Api::new(records.clone());
    let ingest = IngestServiceServer::new(api.clone())
        .max_decoding_message_size(MAX_CHUNK_BYTES)
        .max_encoding_message_size(MAX_CHUNK_BYTES);
    let mut routes = Routes::builder();
    routes
        .add_service(ConnectionServiceServer::new(api.clone()))
        .add_service(ClientServiceServer::new(api.clone()))
        .add_service(PersonServiceServer::new(api.clone()))
        .add_service(ContactServiceServer::new(api.clone()))
        .add_service(HistoryServiceServer::new(api.clone()))
        .add_service(ChangeServiceServer::new(api.clone()))
        .add_service(SupportServiceServer::new(api))
        .add_service(ingest);
    Services {
        routes,
        names: SERVICES.to_vec(),
        connection_age: Some(connection_age),
        support_log: Some(Arc::new(records.clone())),
        monitoring,
        limits,
    }
}
