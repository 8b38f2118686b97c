//! A gRPC server with what every service of Concord has: identity, health,
//! reflection, a log line per call, handlers that run to their end, and a drain.

mod gate;
mod shield;

use std::{net::SocketAddr, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::{Routes, RoutesBuilder},
    transport::{Server, server::TcpIncoming},
};
use tonic_health::server::HealthReporter;

use crate::{caller::Credentials, pb};
use gate::GateLayer;
use shield::ShieldLayer;

/// The largest message that a server takes, unless a service says otherwise.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1_024 * 1_024;

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

/// Serves `services` until `stop` is cancelled, then drains: health says
/// `NOT_SERVING`, no new call is taken, and calls under way come to their end.
pub async fn serve(
    listener: TcpListener,
    services: RoutesBuilder,
    health: HealthReporter,
    credentials: Credentials,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let routes = with_standard_services(services, health.clone())?;
    let stopped = {
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        }
    };
    // Not at the builder, which sets it only on connections that it accepts itself.
    // Without it, an answer of two packets waits 40 ms for the second.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .layer(GateLayer::new(credentials))
        .layer(ShieldLayer)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stopped);
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
) -> Result<Routes, ServeError> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::PUBLIC_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let health = tonic_health::server::HealthService::from_health_reporter(health);
    services
        .add_service(tonic_health::pb::health_server::HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        // Older versions of evans and Postman ask for this one.
        .add_service(reflection().build_v1alpha()?);
    Ok(services.routes())
}
