//! The gRPC server of both services: authentication, load shedding, admission control,
//! health, reflection, a log line and metrics for each call, handlers that run to
//! completion, a metrics port, and a graceful shutdown.

mod admission;
mod authenticate;
mod connections;
mod decode_error;
mod expiring;
mod health;
mod http;
pub mod identity;
pub mod jobs;
pub mod limits;
pub mod meter;
mod middleware;
mod monitoring;
mod observe;
pub mod on_demand;
mod proxies;
mod quota;
pub mod reach;
mod rejection_log;
mod run_to_completion;
pub mod security;
pub mod shares;
mod standard;
mod support_access_log;
pub mod telemetry;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use tonic_health::server::HealthReporter;

use crate::security::ServerSecurity;
pub use admission::Tenant;
use admission::{Admission, AdmissionControl, load_shed::LoadShed};
use authenticate::Authenticate;
pub(crate) use connections::ClientCertificates;
pub use connections::ConnectionAge;
use connections::ConnectionSettings;
use limits::Limits;
use middleware::MiddlewareLayer;
pub use monitoring::{MetricsPort, MetricsPortError, Monitoring};
use observe::Observe;
pub use proxies::{InvalidProxyNetwork, ProxyNetwork, TrustedProxies};
use run_to_completion::RunToCompletion;
use support_access_log::LogSupportAccess;
pub use support_access_log::{MAX_RECORDS, SupportAccess, SupportAccessLog, with_record_ids};
use tower::{ServiceBuilder, util::option_layer};

/// Why a server could not start.
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
/// If the address is in use or does not belong to this machine.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, std::io::Error> {
    TcpListener::bind(address).await.map_err(|error| {
        std::io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

/// The gRPC services of one server, with its settings.
#[derive(Debug)]
pub struct Services {
    /// The services.
    pub routes: RoutesBuilder,
    /// Their full names, such as `concord.records.v1.ClientService`, for health and
    /// reflection.
    pub names: Vec<&'static str>,
    /// The maximum age of a connection; unlimited if absent. At this age the server sends
    /// GOAWAY. Streams must end by themselves then: see [`ConnectionAge`].
    pub connection_age: Option<Duration>,
    /// Records the reads that support makes.
    pub support_log: Option<Arc<dyn SupportAccessLog>>,
    /// Metrics, health and readiness.
    pub monitoring: Monitoring,
    /// The limits of the server.
    pub limits: Limits,
}

/// Serves `services` until `stop` is cancelled, then shuts down gracefully: health
/// reports `NOT_SERVING`, new calls are rejected, and calls in progress complete.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    security: ServerSecurity,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let Services { mut routes, names, connection_age, support_log, monitoring, limits } = services;
    let ServerSecurity { credentials, tls, proxies, reflection } = security;
    let health = HealthReporter::new();
    let bounds = standard::Bounds::new(credentials.clone());
    let reflected = reflection.then_some(names.as_slice());
    standard::add_to(&mut routes, health.clone(), reflected, bounds)?;
    let meter = monitoring.meter.clone();
    // Monitoring continues while the server drains.
    let _monitoring = monitoring.start(health, names, stop.clone()).await;
    // The task ends when `stop` is cancelled.
    tokio::spawn(credentials.clone().reload_keys(stop.clone()));
    let admission = Arc::new(Admission::new(limits));
    admission.start(&meter, stop.clone());
    let service = ServiceBuilder::new()
        .layer(MiddlewareLayer(Observe(meter)))
        .layer(MiddlewareLayer(LoadShed(Arc::clone(&admission))))
        .layer(MiddlewareLayer(Authenticate(credentials)))
        .layer(MiddlewareLayer(AdmissionControl(admission)))
        .layer(option_layer(support_log.map(LogSupportAccess).map(MiddlewareLayer)))
        .layer(MiddlewareLayer(RunToCompletion))
        .service(routes.routes().prepare());
    let settings = ConnectionSettings { limits, age: connection_age, proxies, tls };
    connections::serve(listener, settings, service, stop).await;
    Ok(())
}
