//! Accepts connections, bounds them, and serves HTTP/2 on each.
//!
//! hyper is used directly rather than through tonic's transport, which has no clock for
//! the handshake and the HTTP/2 preface, no graceful close of a connection without
//! streams, and no way to reset a stream that its client does not read.
//!
//! A connection that is refused is closed at once: its client learns of it and tries
//! another replica. Left waiting, it would learn of it when its deadline passes.

mod opening;
mod replay;
mod streams;

use std::{convert::Infallible, io, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use http::{Extensions, Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::CertificateDer},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use super::{
    age::{ConnectionAge, GRACE, random_part},
    limits::{KEEPALIVE, Limits, MAX_HEADER_BYTES, MAX_STREAMS_OF_CONNECTION},
    proxies::{Origin, TrustedProxies},
    quota::{ClientNetwork, Exceeded, Quota},
    turned_away::TurnedAway,
};
use opening::{Accepted, OpenError, Opened};
pub(super) use streams::StreamDeadline;
use streams::StreamTasks;

/// How long to wait when the system lets the process open no more files. Another
/// try at once would fail as well, and keep a core busy.
const PAUSE_WITHOUT_FILES: Duration = Duration::from_millis(100);
/// The system's words for it: of the process, and of the machine.
const NO_MORE_FILES: [i32; 2] = [24, 23];

/// Connections that have not ended by then are cut when a server stops.
const DRAIN_TIME: Duration = Duration::from_secs(20);

/// How connections are opened, and what bounds them.
#[derive(Debug)]
pub(super) struct ConnectionSettings {
    pub(super) limits: Limits,
    /// How old a connection becomes before its client is asked to make another one.
    pub(super) age: Option<Duration>,
    pub(super) proxies: TrustedProxies,
    /// How connections are encrypted; not at all without it.
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// Serves connections until `stop` is cancelled, and then until all of them have
/// ended or [`DRAIN_TIME`] is over.
pub(super) async fn serve<S>(
    listener: TcpListener,
    settings: ConnectionSettings,
    service: S,
    stop: CancellationToken,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
{
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
    // New clients are refused from here on.
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_TIME, drained).await.is_err() {
        tracing::warn!("connections did not end in time and were cut");
    }
}

async fn pause_without_files(error: &io::Error) {
    if error.raw_os_error().is_some_and(|error| NO_MORE_FILES.contains(&error)) {
        tracing::warn!("no more files may be opened: a connection waits");
        sleep(PAUSE_WITHOUT_FILES).await;
    }
}

/// Why a connection is closed by the server.
enum Close {
    /// The server stops.
    Stop,
    /// No stream was open for a while.
    Idle,
    /// It has reached its age.
    Age,
}

struct Server {
    limits: Limits,
    age: Option<Duration>,
    proxies: TrustedProxies,
    tls: Option<TlsAcceptor>,
    quota: Arc<Quota>,
    over_total: TurnedAway,
    over_share: TurnedAway,
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
            over_total: TurnedAway::new("connections"),
            over_share: TurnedAway::new("connections of one address"),
            stop,
        }
    }

    /// The connection, if there is room for it.
    fn admit(&self, stream: TcpStream, peer: IpAddr) -> Option<Accepted> {
        let origin = self.proxies.origin(peer);
        let network = match origin {
            Origin::Client(network) => Some(network),
            Origin::Proxy | Origin::ProxyProtocol => None,
        };
        match self.quota.acquire(network) {
            Ok(permit) => {
                // Without it, an answer of two packets waits 40 ms for the second. It
                // fails for a connection that is broken, which the next read reports.
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
            Exceeded::Total => self.over_total.one_more(),
            Exceeded::Network => self.over_share.one_more(),
        }
    }

    /// Serves one connection to its end.
    async fn run<S>(self: Arc<Self>, accepted: Accepted, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
    {
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

    async fn serve_http<S>(&self, opened: Opened, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let Opened { io, network, certificates, permit: _permit } = opened;
        let tasks = StreamTasks::default();
        let age = ConnectionAge::of_new(self.age);
        let context = StreamContext { age, network, certificates, ..StreamContext::default() };
        let handler = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            let (service, context) = (service.clone(), context.clone());
            async move {
                // Known within the task of the stream only.
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
        // Never at the same time after a call: a client that calls once in that time would
        // meet the GOAWAY again and again, and some libraries then fail the call.
        let idle_time = self.limits.idle_time + random_part(self.limits.idle_time / 10);
        let mut aged = pin!(self.aged());
        let close = tokio::select! {
            ended = connection.as_mut() => return log_end(ended),
            () = self.stop.cancelled() => Close::Stop,
            () = aged.as_mut() => Close::Age,
            () = tasks.idle(idle_time) => Close::Idle,
        };
        // Sends GOAWAY, and ends when the last stream has ended.
        connection.as_mut().graceful_shutdown();
        let cut = async {
            match close {
                // The drain of the server has a time of its own.
                Close::Stop => std::future::pending().await,
                // A stream that began before the client had the GOAWAY may end.
                Close::Idle => tokio::select! {
                    () = tasks.idle(GRACE) => {}
                    () = async { aged.await; sleep(GRACE).await } => {}
                },
                Close::Age => sleep(GRACE).await,
            }
        };
        tokio::select! {
            ended = connection.as_mut() => log_end(ended),
            () = cut => tracing::debug!("connection cut: it did not end after GOAWAY"),
        }
    }

    /// Completes when a connection that begins now has reached its age.
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

/// What a server knows of the connection of a request, and of its stream.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamContext {
    pub(super) age: ConnectionAge,
    /// Whose connection it is; unknown behind a proxy that does not name its clients.
    pub(super) network: Option<ClientNetwork>,
    certificates: Option<ClientCertificates>,
    pub(super) deadline: StreamDeadline,
}

/// The certificates that the client of a connection has shown: its own first. TLS has
/// verified them.
#[derive(Clone, Debug)]
pub(crate) struct ClientCertificates(Arc<[CertificateDer<'static>]>);

impl From<&[CertificateDer<'static>]> for ClientCertificates {
    fn from(certificates: &[CertificateDer<'static>]) -> Self {
        Self(certificates.into())
    }
}

impl ClientCertificates {
    /// The client's own certificate, in DER form, of the connection of a request; none
    /// when it has shown none.
    pub(crate) fn own(extensions: &Extensions) -> Option<&[u8]> {
        let context = extensions.get::<StreamContext>()?;
        context.certificates.as_ref()?.0.first().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests;
