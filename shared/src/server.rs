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
pub mod on_demand;
mod operation;
mod proxies;
mod quota;
mod shield;
mod standard;
mod support_log;
mod turned_away;
mod unread;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use tonic_health::server::HealthReporter;

use crate::security::ServerSecurity;
use admission::{Admission, AdmissionLayer, door::DoorLayer};
pub use age::ConnectionAge;
pub(crate) use connections::ClientCertificates;
use connections::ConnectionSettings;
use gate::GateLayer;
use limits::Limits;
use observe::ObserveLayer;
pub use operation::{MetricsPort, MetricsPortError, Operation};
pub use proxies::{InvalidProxyNetwork, ProxyNetwork, TrustedProxies};
use shield::ShieldLayer;
use support_log::SupportLogLayer;
pub use support_log::{MAX_RECORDS, SupportLog, SupportRead, reading};
use tower::{ServiceBuilder, util::option_layer};

/// A server that could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The reflection service could not be built from the descriptors.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
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
    let Services { mut routes, names, connection_age, support_log, operation, limits } = services;
    let ServerSecurity { credentials, tls, proxies, reflection } = security;
    let health = HealthReporter::new();
    let bounds = standard::Bounds::new(credentials.clone());
    let reflected = reflection.then_some(names.as_slice());
    standard::add_to(&mut routes, health.clone(), reflected, bounds)?;
    let meter = operation.meter.clone();
    let observe = ObserveLayer::new(meter.clone());
    // Also while the server drains.
    let _watched = operation.start(health, names, stop.clone()).await;
    // Ends by itself when the server stops.
    tokio::spawn(credentials.clone().keep_current(stop.clone()));
    let admission = Arc::new(Admission::new(limits));
    admission.start(&meter, stop.clone());
    let service = ServiceBuilder::new()
        .layer(observe)
        .layer(DoorLayer::new(Arc::clone(&admission)))
        .layer(GateLayer::new(credentials))
        .layer(AdmissionLayer::new(admission))
        .layer(option_layer(support_log.map(SupportLogLayer)))
        .layer(ShieldLayer)
        .service(routes.routes().prepare());
    let settings = ConnectionSettings { limits, age: connection_age, proxies, tls };
    connections::serve(listener, settings, service, stop).await;
    Ok(())
}
