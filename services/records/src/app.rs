//! One replica of the service, as a value: built, run, stopped.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use shared::{
    db::TablesError,
    meter::Meter,
    pb::{
        internal::ingest_service_server::IngestServiceServer,
        records::{
            change_service_server::ChangeServiceServer, client_service_server::ClientServiceServer,
            connection_service_server::ConnectionServiceServer,
            contact_service_server::ContactServiceServer,
            history_service_server::HistoryServiceServer,
            person_service_server::PersonServiceServer,
            support_service_server::SupportServiceServer,
        },
    },
    security::{InsecureStart, ServerSecurity},
    server::{
        self, MetricsPort, MetricsPortError, Operation, ServeError, Services,
        limits::{Limits, MAX_SERVICE_MESSAGE_BYTES},
    },
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
    reads::Reads,
    service::Records,
    tables,
};

/// The largest message that the imports service may send: a chunk.
pub(crate) const MAX_CHUNK_BYTES: usize = MAX_SERVICE_MESSAGE_BYTES;

/// The services, by their full names.
const SERVICES: [&str; 7] = [
    ConnectionServiceServer::<Api>::NAME,
    ClientServiceServer::<Api>::NAME,
    PersonServiceServer::<Api>::NAME,
    ContactServiceServer::<Api>::NAME,
    HistoryServiceServer::<Api>::NAME,
    ChangeServiceServer::<Api>::NAME,
    SupportServiceServer::<Api>::NAME,
];

/// A service that could not start, or broke.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would not be safe.
    #[error(transparent)]
    Insecure(#[from] InsecureStart),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
    /// The port of the metrics cannot be opened.
    #[error(transparent)]
    Metrics(#[from] MetricsPortError),
    /// The database cannot be used.
    #[error("the database of the records service: {0}")]
    Database(#[from] sea_orm::DbErr),
    /// The tables are not those of this program.
    #[error("the database of the records service: {0}")]
    Tables(#[from] TablesError),
    /// The server broke.
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
    /// Connects to the database, sees to its tables, and binds the address.
    ///
    /// # Errors
    ///
    /// When one of these cannot be done; the error says which.
    pub async fn build(config: RecordsConfig) -> Result<Self, StartError> {
        let RecordsConfig { listen, database, migrate, clock, security, connection_age, .. } =
            config;
        let RecordsConfig { purge_after, feed_retention, metrics_listen, limits, .. } = config;
        let security = security.for_server(listen)?;
        let db = tables::open(database, migrate).await?;
        let listener = server::bind(listen).await?;
        let address = listener.local_addr()?;
        let metrics = MetricsPort::bind(metrics_listen).await?;
        let meter = Meter::new("records");
        let feed_stop = CancellationToken::new();
        let feed = Feed::new(db.clone(), clock.clone(), feed_stop.clone());
        let reads = Reads::start(&db);
        let records =
            Records { db, reads, growth: Arc::default(), clock, feed, purge_after, feed_retention };
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its metrics are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsPort::address)
    }

    /// Serves until `stop` is cancelled; then streams end with a last cursor,
    /// calls under way come to their end, and the database is closed.
    ///
    /// # Errors
    ///
    /// When the server breaks.
    pub async fn run_until(self, stop: CancellationToken) -> Result<(), StartError> {
        let Self { listener, security, records, connection_age, feed_stop, .. } = self;
        let Self { meter, metrics, limits, .. } = self;
        let sequencer = tokio::spawn(sequencer::run(records.feed.clone(), meter.clone()));
        let ears = tokio::spawn(sequencer::listen(records.feed.clone()));
        let jobs = tokio::spawn(jobs::run(records.clone(), meter.clone()));
        let gauges = tokio::spawn(gauges::run(records.clone(), meter.clone()));
        let operation = Operation::new(meter, records.db.clone(), metrics);
        let services = services(&records, connection_age, limits, operation);
        // Streams end with the feed, or the drain would wait for them.
        let drop_guard = feed_stop.clone().drop_guard();
        let streams = async {
            stop.cancelled().await;
            feed_stop.cancel();
            std::future::pending::<()>().await;
        };
        let served = tokio::select! {
            served = server::serve(listener, services, security, stop.clone()) => served,
            () = streams => Ok(()),
        };
        drop(drop_guard);
        // They end by themselves; nothing is lost when one has panicked.
        let _ = tokio::join!(sequencer, ears, jobs, gauges);
        records.db.close().await?;
        Ok(served?)
    }
}

fn services(
    records: &Records,
    connection_age: Duration,
    limits: Limits,
    operation: Operation,
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
        operation,
        limits,
    }
}
