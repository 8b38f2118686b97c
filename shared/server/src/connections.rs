//! Accepts connections, limits their number, and serves HTTP/2 on each.
//!
//! hyper is used directly instead of tonic's transport, which has no timeout for the
//! handshake and the HTTP/2 preface, no graceful close of an idle connection, and no way
//! to reset a stream that its client does not read.
//!
//! A rejected connection is closed at once, so that its client tries another replica
//! without waiting for its deadline.

mod opening;
mod replay;
mod stream_context;
mod streams;

use std::{io, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::ServiceExt as _;

use super::{
    limits::{KEEPALIVE, Limits, MAX_HEADER_BYTES, MAX_STREAMS_OF_CONNECTION},
    middleware::HttpService,
    proxies::{Origin, TrustedProxies},
    quota::{Exceeded, Quota},
    rejection_log::RejectionLog,
};
use opening::{Accepted, OpenError, Opened};
pub(crate) use stream_context::ClientCertificates;
pub use stream_context::ConnectionAge;
use stream_context::GRACE;
pub(super) use stream_context::{StreamContext, random_part};
pub(super) use streams::StreamDeadline;
use streams::StreamTasks;

/// The pause after an accept that failed because no file descriptor is free. An immediate
/// retry would fail again, and keep a core busy.
const PAUSE_WITHOUT_FILES: Duration = Duration::from_millis(100);
/// The error numbers: EMFILE (of the process) and ENFILE (of the system).
const NO_MORE_FILES: [i32; 2] = [24, 23];

/// The timeout of a graceful shutdown, after which open connections are closed.
const DRAIN_TIME: Duration = Duration::from_secs(20);

/// The settings of connections.
#[derive(Debug)]
pub(super) struct ConnectionSettings {
    pub(super) limits: Limits,
    /// The maximum age of a connection, at which the server sends GOAWAY.
    pub(super) age: Option<Duration>,
    pub(super) proxies: TrustedProxies,
    /// The TLS settings; connections are not encrypted if absent.
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// Serves connections until `stop` is cancelled, and then until all of them have
/// ended or [`DRAIN_TIME`] is over.
pub(super) async fn serve(
    listener: TcpListener,
    settings: ConnectionSettings,
    service: impl HttpService,
    stop: CancellationToken,
) {
    let server = Arc::new(Server::new(settings, stop));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = server.stop.cancelled() => break,
            // Removes the connections that have ended.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(accepted) = server.admit(stream, peer.ip()) {
                        connections.spawn(Arc::clone(&server).run(accepted, service.clone()));
                    }
                }
                Err(error) => pause_without_files(&error).await,
            },
        }
    }
    // New connections are refused from here on.
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_TIME, drained).await.is_err() {
        tracing::warn!("graceful shutdown timed out: open connections were closed");
    }
}

async fn pause_without_files(error: &io::Error) {
    if error.raw_os_error().is_some_and(|error| NO_MORE_FILES.contains(&error)) {
        tracing::warn!("no file descriptor is free: accepting is paused");
        sleep(PAUSE_WITHOUT_FILES).await;
    }
}

/// Why the server closes a connection.
enum Close {
    /// The server shuts down.
    Stop,
    /// No stream was open for the idle time.
    Idle,
    /// The connection has reached its maximum age.
    Age,
}

struct Server {
    limits: Limits,
    age: Option<Duration>,
    proxies: TrustedProxies,
    tls: Option<TlsAcceptor>,
    quota: Arc<Quota>,
    over_total: RejectionLog,
    over_share: RejectionLog,
    stop: CancellationToken,
}

impl Server {
    fn new(settings: ConnectionSettings, stop: CancellationToken) -> Self {
        let ConnectionSettings { limits, age, proxies, tls } = settings;
        Self {
            limits,
            age,
            proxies,
            tls: tls.map(TlsAcceptor::from),
            quota: Quota::new(limits.connections, limits.connections_per_address),
            over_total: RejectionLog::new("connections"),
            over_share: RejectionLog::new("connections of one address"),
            stop,
        }
    }

    /// Admits the connection if the quota allows it.
    fn admit(&self, stream: TcpStream, peer: IpAddr) -> Option<Accepted> {
        let origin = self.proxies.origin(peer);
        let network = match origin {
            Origin::Client(network) => Some(network),
            Origin::Proxy | Origin::ProxyProtocol => None,
        };
        match self.quota.acquire(network) {
            Ok(permit) => {
                // With Nagle's algorithm the second packet of a response is delayed by 40 ms.
                // An error means a broken connection, which the next read reports.
                let _ = stream.set_nodelay(true);
                Some(Accepted { stream, origin, permit })
            }
            Err(exceeded) => {
                self.rejected(exceeded);
                None
            }
        }
    }

    fn rejected(&self, exceeded: Exceeded) {
        match exceeded {
            Exceeded::Total => self.over_total.record(),
            Exceeded::Network => self.over_share.record(),
        }
    }

    /// Serves one connection to its end.
    async fn run(self: Arc<Self>, accepted: Accepted, service: impl HttpService) {
        let opened = tokio::select! {
            () = self.stop.cancelled() => return,
            opened = timeout(self.limits.opening_time, accepted.open(self.tls.as_ref())) => opened,
        };
        match opened {
            Ok(Ok(opened)) => self.serve_http(opened, service).await,
            Ok(Err(OpenError::Share(exceeded))) => self.rejected(exceeded),
            Ok(Err(error)) => tracing::debug!(%error, "connection closed before its first stream"),
            Err(_) => tracing::debug!("connection closed: its opening took too long"),
        }
    }

    async fn serve_http(&self, opened: Opened, service: impl HttpService) {
        let Opened { io, network, certificates, permit: _permit } = opened;
        let tasks = StreamTasks::default();
        let age = ConnectionAge::of_new(self.age);
        let context = StreamContext { age, network, certificates, ..StreamContext::default() };
        let handler = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            let (service, context) = (service.clone(), context.clone());
            async move {
                // Available only within the task of the stream.
                let deadline = StreamDeadline::current();
                request.extensions_mut().insert(StreamContext { deadline, ..context });
                service.oneshot(request).await
            }
        });
        let mut http = http2::Builder::new(tasks.clone());
        http.timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .max_concurrent_streams(MAX_STREAMS_OF_CONNECTION)
            .max_header_list_size(MAX_HEADER_BYTES);
        let mut connection = pin!(http.serve_connection(TokioIo::new(io), handler));
        // With jitter: a client that calls at exactly this interval would repeatedly get the
        // GOAWAY, and some libraries then fail the call.
        let idle_time = self.limits.idle_time + random_part(self.limits.idle_time / 10);
        let mut aged = pin!(self.aged());
        let close = tokio::select! {
            ended = connection.as_mut() => return log_end(ended),
            () = self.stop.cancelled() => Close::Stop,
            () = aged.as_mut() => Close::Age,
            () = tasks.idle(idle_time) => Close::Idle,
        };
        // Sends GOAWAY, and completes when the last stream has ended.
        connection.as_mut().graceful_shutdown();
        let cut = async {
            match close {
                // The graceful shutdown of the server has a timeout of its own.
                Close::Stop => std::future::pending().await,
                // A stream that started before the client got the GOAWAY may complete.
                Close::Idle => tokio::select! {
                    () = tasks.idle(GRACE) => {}
                    () = async { aged.await; sleep(GRACE).await } => {}
                },
                Close::Age => sleep(GRACE).await,
            }
        };
        tokio::select! {
            ended = connection.as_mut() => log_end(ended),
            () = cut => tracing::debug!("connection closed: it did not end after GOAWAY"),
        }
    }

    /// Completes when a connection that starts now has reached its maximum age.
    async fn aged(&self) {
        match self.age {
            Some(age) => sleep(age).await,
            None => std::future::pending().await,
        }
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended with an error");
    }
}

#[cfg(test)]
mod tests;
