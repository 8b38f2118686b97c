use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Response;
use proxy_header::{ProxiedAddress, ProxyHeader};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpSocket,
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::*;
use crate::security::{SecuritySettings, TlsFiles};

/// The timeout of a test that hangs, shorter than [`GRACE`].
const LONG: Duration = Duration::from_secs(25);

/// A short timeout.
const SHORT: Duration = Duration::from_millis(500);

struct Serving {
    address: SocketAddr,
    stop: CancellationToken,
    /// The number of held calls that have started.
    started: Arc<AtomicUsize>,
    /// Permits to complete them.
    resumed: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Serving {
    async fn start(set: impl FnOnce(&mut ConnectionSettings)) -> Self {
        let mut settings = ConnectionSettings {
            limits: Limits::default(),
            age: None,
            proxies: TrustedProxies::default(),
            tls: None,
        };
        set(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let resumed = Arc::new(Semaphore::new(0));
        let started = Arc::<AtomicUsize>::default();
        let calls = (Arc::clone(&started), Arc::clone(&resumed));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (started, held) = calls.clone();
            async move {
                if request.uri().path() == "/hold" {
                    started.fetch_add(1, Ordering::SeqCst);
                    held.acquire().await.unwrap().forget();
                }
                Ok::<_, Infallible>(Response::new(Body::new("done".to_owned())))
            }
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, settings, service, stop.clone()));
        Self { address, stop, started, resumed, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn connect_from(&self, address: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// A client whose call has been served. Retries, because on a slow machine a timeout of
    /// the test may close the connection first.
    async fn opened(&self) -> (SendRequest<Bytes>, Connection) {
        let opened = async {
            loop {
                if let Some((mut client, connection)) = http2(self.connect().await).await
                    && get(&mut client, "/").await.is_ok()
                {
                    return (client, connection);
                }
            }
        };
        soon(opened).await
    }

    /// A call that the server holds, on a connection of its own.
    async fn held(&self) -> Held {
        loop {
            let (client, connection) = self.opened().await;
            let (mut caller, started) = (client.clone(), self.started.load(Ordering::SeqCst));
            let call = tokio::spawn(async move { get(&mut caller, "/hold").await });
            while self.started.load(Ordering::SeqCst) == started && !call.is_finished() {
                sleep(SHORT / 50).await;
            }
            if !call.is_finished() {
                return Held { client, connection, call };
            }
        }
    }
}

type Connection = JoinHandle<Result<(), h2::Error>>;

struct Held {
    client: SendRequest<Bytes>,
    connection: Connection,
    call: JoinHandle<Result<Bytes, h2::Error>>,
}

impl Held {
    /// The call completes, and then the connection is closed gracefully.
    async fn ends(self, server: &Serving) {
        assert!(!self.call.is_finished() && !self.connection.is_finished());
        server.resumed.add_permits(1);
        assert_eq!(self.call.await.unwrap().unwrap(), "done");
        soon(self.connection).await.unwrap().unwrap();
    }
}

/// Waits for `work`, and panics if it hangs.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(LONG, work).await.expect("it does not hang")
}

/// Waits until the server closes or resets the connection.
async fn closed(mut connection: impl AsyncRead + Unpin) {
    // A GOAWAY may precede the end.
    while matches!(soon(connection.read(&mut [0; 64])).await, Ok(length) if length > 0) {}
}

/// An HTTP/2 client, and the task of its connection.
async fn http2<IO>(io: IO) -> Option<(SendRequest<Bytes>, Connection)>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = soon(h2::client::handshake(io)).await.ok()?;
    let client = soon(client.ready()).await.ok()?;
    Some((client, tokio::spawn(connection)))
}

/// Returns `true` if the server responds over the connection.
async fn answers<IO>(io: IO) -> bool
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some((mut client, _connection)) = http2(io).await else { return false };
    get(&mut client, "/").await.is_ok()
}

async fn get(client: &mut SendRequest<Bytes>, path: &str) -> Result<Bytes, h2::Error> {
    let request = Request::get(format!("http://concord{path}")).body(()).unwrap();
    let (response, _) = client.send_request(request, true)?;
    let mut body = soon(response).await?.into_body();
    soon(body.data()).await.unwrap()
}

#[tokio::test]
async fn connection_not_opened_in_time_is_closed() {
    let server = Serving::start(|settings| settings.limits.opening_time = SHORT).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // The first two bytes of a SETTINGS frame of six.
    let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3];
    let mut open = Vec::new();
    for sent in [&b""[..], b"P", preface, &[&preface[..], &settings].concat()] {
        let mut connection = server.connect().await;
        connection.write_all(sent).await.unwrap();
        open.push(connection);
    }
    for connection in open {
        closed(connection).await;
    }
    // A slow client does not extend the timeout.
    let (reader, mut writer) = server.connect().await.into_split();
    let dribble = tokio::spawn(async move {
        for byte in preface {
            let _ = writer.write_all(&[*byte]).await;
            sleep(SHORT / 2).await;
        }
    });
    closed(reader).await;
    assert!(!dribble.is_finished(), "closed before the preface was complete");
    // An open connection may be idle.
    let (mut client, _connection) = server.opened().await;
    sleep(SHORT * 2).await;
    assert!(get(&mut client, "/").await.is_ok());
}

#[tokio::test]
async fn non_http2_client_is_closed() {
    let server = Serving::start(|_| {}).await;
    let mut connection = server.connect().await;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: concord.example\r\n\r\n").await.unwrap();
    closed(connection).await;
}

/// A server with TLS, and the connector of its clients.
async fn encrypting(set: impl FnOnce(&mut ConnectionSettings)) -> (Serving, TlsConnector) {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&pair, &authority).unwrap();
    let files = TlsFiles {
        certificate: folder.path().join("server.pem"),
        key: folder.path().join("key.pem"),
        client_authority: None,
    };
    fs::write(&files.certificate, certificate.pem()).unwrap();
    fs::write(&files.key, pair.serialize_pem()).unwrap();
    let security = SecuritySettings { tls: Some(files), ..SecuritySettings::default() };
    let tls = security.for_server("127.0.0.1:0".parse().unwrap()).unwrap().tls;
    let server = Serving::start(|settings| {
        settings.tls = tls;
        set(settings);
    })
    .await;
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, TlsConnector::from(Arc::new(client)))
}

async fn encrypted(server: &Serving, tls: &TlsConnector) -> TlsStream<TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let connected = async {
        loop {
            // It may time out on a slow machine.
            if let Ok(stream) = tls.connect(name.clone(), server.connect().await).await {
                return stream;
            }
        }
    };
    soon(connected).await
}

#[tokio::test]
async fn tls_connection_not_opened_in_time_is_closed() {
    let (server, tls) = encrypting(|settings| settings.limits.opening_time = SHORT * 2).await;
    // The first bytes of a ClientHello.
    let mut half = server.connect().await;
    half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).await.unwrap();
    let silent = encrypted(&server, &tls).await;
    let mut one_byte = encrypted(&server, &tls).await;
    one_byte.write_all(b"P").await.unwrap();
    one_byte.flush().await.unwrap();
    // Other clients are served.
    let others = async { while !answers(encrypted(&server, &tls).await).await {} };
    soon(Box::pin(others)).await;
    closed(half).await;
    closed(silent).await;
    closed(one_byte).await;
}

#[tokio::test]
async fn slow_handshakes_do_not_delay_other_clients() {
    let (server, tls) = encrypting(|settings| settings.limits.opening_time = LONG * 10).await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut connection = server.connect().await;
        connection.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).await.unwrap();
        slow.push(connection);
    }
    assert!(answers(encrypted(&server, &tls).await).await);
}

#[tokio::test]
async fn connection_over_total_is_closed_until_another_ends() {
    let server = Serving::start(|settings| settings.limits.connections = 1).await;
    let first = server.connect().await;
    closed(server.connect().await).await;
    drop(first);
    soon(async { while !answers(server.connect().await).await {} }).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let server = Serving::start(|settings| settings.limits.connections_per_address = 2).await;
    let held = [server.connect().await, server.connect().await];
    closed(server.connect().await).await;
    assert!(answers(server.connect_from("127.0.0.2").await).await);
    drop(held);
    soon(async { while !answers(server.connect().await).await {} }).await;
}

fn trust_loopback(settings: &mut ConnectionSettings, proxy_protocol: bool) {
    let networks = vec!["127.0.0.1".parse().unwrap()];
    settings.proxies = TrustedProxies { networks, proxy_protocol };
    settings.limits.connections_per_address = 1;
}

#[tokio::test]
async fn trusted_proxy_is_exempt_from_address_limit() {
    let server = Serving::start(|settings| trust_loopback(settings, false)).await;
    let _held = [server.connect().await, server.connect().await];
    assert!(answers(server.connect().await).await);
}

/// A header of the PROXY protocol for a client.
fn header(client: &str, version: u8) -> Vec<u8> {
    let client = SocketAddr::new(client.parse().unwrap(), 40_000);
    let address = ProxiedAddress::stream(client, SocketAddr::new(client.ip(), 50_051));
    let header = ProxyHeader::with_address(address);
    let mut bytes = Vec::new();
    let encoded =
        if version == 1 { header.encode_v1(&mut bytes) } else { header.encode_v2(&mut bytes) };
    encoded.unwrap();
    bytes
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn proxy_protocol_client_is_counted() {
    let server = Serving::start(|settings| trust_loopback(settings, true)).await;
    let proxied = async |header: &[u8]| {
        let mut connection = server.connect().await;
        connection.write_all(header).await.unwrap();
        connection
    };
    for (version, client) in [(1, "192.0.2.1"), (2, "192.0.2.2"), (2, "2001:db8::1")] {
        let (_client, _held) = http2(proxied(&header(client, version)).await).await.unwrap();
        let second = proxied(&header(client, version)).await;
        assert!(!answers(second).await, "{client} has its share");
    }
    assert!(answers(proxied(&header("192.0.2.3", 2)).await).await);
    // A connection of the proxy itself.
    let own = ProxyHeader::with_local();
    let mut bytes = Vec::new();
    own.encode_v2(&mut bytes).unwrap();
    let _held = proxied(&bytes).await;
    assert!(answers(proxied(&bytes).await).await);
    // Without a header, or from an address that is not trusted.
    assert!(!answers(server.connect().await).await);
    let mut forged = server.connect_from("127.0.0.2").await;
    forged.write_all(&header("192.0.2.9", 2)).await.unwrap();
    assert!(!answers(forged).await);
}

#[tokio::test]
async fn proxy_header_is_subject_to_opening_timeout() {
    let server = Serving::start(|settings| {
        trust_loopback(settings, true);
        settings.limits.opening_time = SHORT;
    })
    .await;
    let mut half = server.connect().await;
    half.write_all(b"PROXY TCP4 192.0.2.1 ").await.unwrap();
    closed(half).await;
}

#[tokio::test]
async fn idle_connection_gets_goaway_and_one_with_a_stream_stays() {
    let server = Serving::start(|settings| settings.limits.idle_time = SHORT).await;
    let (_client, connection) = server.opened().await;
    soon(connection).await.unwrap().expect("closed gracefully");
    let held = server.held().await;
    sleep(SHORT * 4).await;
    held.ends(&server).await;
}

#[tokio::test]
async fn old_connection_gets_goaway_and_its_streams_end() {
    let server = Serving::start(|settings| settings.age = Some(SHORT)).await;
    let held = server.held().await;
    let received_goaway = async {
        // A client that has received a GOAWAY opens no further stream.
        while held.client.clone().ready().await.is_ok() {
            sleep(SHORT / 50).await;
        }
    };
    soon(received_goaway).await;
    held.ends(&server).await;
}

#[tokio::test]
async fn stopped_server_closes_connections_and_waits_for_streams() {
    let server = Serving::start(|_| {}).await;
    let (_idle, idle) = server.opened().await;
    let unopened = server.connect().await;
    let held = server.held().await;
    server.stop.cancel();
    soon(idle).await.unwrap().unwrap();
    closed(unopened).await;
    assert!(!server.task.is_finished());
    held.ends(&server).await;
    soon(server.task).await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
