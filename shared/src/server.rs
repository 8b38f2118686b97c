//! A gRPC server with what every service of Concord has: identity, health,
//! reflection, a log line and numbers of each call, handlers that run to their end,
//! a port for those who watch it, and a drain.

mod admission;
mod age;
mod connections;
mod expiring;
mod gate;
mod health;
mod http;
pub mod limits;
mod observe;
mod operation;
mod shield;
mod support_log;
mod turned_away;
mod unread;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::{Routes, RoutesBuilder},
    transport::{Server, server::TcpIncoming},
};
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder;

use crate::{pb, security::ServerSecurity};
use admission::{Admission, AdmissionLayer, door::DoorLayer};
pub use age::ConnectionAge;
use age::GRACE;
use gate::GateLayer;
use limits::{FIRST_BYTE_TIME, Limits, MAX_HEADER_BYTES, MAX_STREAMS_OF_CONNECTION};
use observe::ObserveLayer;
pub use operation::{MetricsPort, MetricsPortError, Operation};
use shield::ShieldLayer;
use support_log::SupportLogLayer;
pub use support_log::{MAX_RECORDS, SupportLog, SupportRead, reading};
use tower::util::option_layer;

/// Connections that have not ended by then are cut when a server stops.
const DRAIN_TIME: Duration = Duration::from_secs(20);

/// How often a silent connection is asked whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// A server that could not start, or broke.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The reflection service could not be built from the descriptors.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("transport: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Binds `address`.
///
/// # Errors
///
/// When the address is in use or is not of this machine.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, std::io::Error> {
    TcpListener::bind(address).await.map_err(|error| {
        std::io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

/// Services, with the names under which health and reflection tell of them.
#[derive(Debug)]
pub struct Services {
    /// The services.
    pub routes: RoutesBuilder,
    /// Their full names, such as `concord.records.v1.ClientService`.
    pub names: Vec<&'static str>,
    /// How old a connection becomes before its client is asked to make another
    /// one; any age without it. Its streams must end by themselves then: see
    /// [`ConnectionAge`].
    pub connection_age: Option<Duration>,
    /// Where it is kept what support reads.
    pub support_log: Option<Arc<dyn SupportLog>>,
    /// How those who run the service see it.
    pub operation: Operation,
    /// What the server takes at most.
    pub limits: Limits,
}

/// Serves `services` until `stop` is cancelled, then drains: health says
/// `NOT_SERVING`, no new call is taken, and calls under way come to their end.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    security: ServerSecurity,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let Services { routes, names, connection_age, support_log, operation, limits } = services;
    let ServerSecurity { credentials, tls } = security;
    let health = HealthReporter::new();
    let routes = with_standard_services(routes, health.clone(), &names)?;
    let observe = ObserveLayer::new(operation.meter.clone());
    // Also while the server drains.
    let _watched = operation.start(health, names, stop.clone()).await;
    // Not at the builder, which sets it only on connections that it accepts itself.
    // Without it, an answer of two packets waits 40 ms for the second.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let incoming =
        connections::bounded(incoming, limits.connections, FIRST_BYTE_TIME, connection_age);
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .max_concurrent_streams(MAX_STREAMS_OF_CONNECTION)
        .http2_max_header_list_size(MAX_HEADER_BYTES);
    if let Some(age) = connection_age {
        server = server.max_connection_age(age).max_connection_age_grace(GRACE);
    }
    if let Some(tls) = tls {
        server = server.tls_config(tls)?;
    }
    // Ends by itself when the server stops.
    tokio::spawn(credentials.clone().keep_current(stop.clone()));
    let admission = Arc::new(Admission::new(limits));
    let serving = server
        .layer(observe)
        .layer(DoorLayer::new(Arc::clone(&admission)))
        .layer(GateLayer::new(credentials))
        .layer(AdmissionLayer::new(admission))
        .layer(option_layer(support_log.map(SupportLogLayer)))
        .layer(ShieldLayer)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let cut = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN_TIME).await;
    };
    tokio::select! {
        outcome = serving => Ok(outcome?),
        () = cut => {
            tracing::warn!("connections did not end in time and were cut");
            Ok(())
        }
    }
}

fn with_standard_services(
    mut services: RoutesBuilder,
    health: HealthReporter,
    names: &[&'static str],
) -> Result<Routes, ServeError> {
    let reflection = || {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(pb::PUBLIC_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that a caller who reflects can read the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        // The descriptors are those of both services: this server has its own.
        let standard = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
        names.iter().copied().chain(standard).fold(builder, Builder::with_service_name)
    };
    let health = tonic_health::server::HealthService::from_health_reporter(health);
    services
        .add_service(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        // Older versions of evans and Postman ask for this one.
        .add_service(reflection().build_v1alpha()?);
    Ok(services.routes())
}
