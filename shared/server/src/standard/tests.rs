use std::{net::SocketAddr, time::Duration};

use bytes::{BufMut as _, BytesMut};
use h2::{RecvStream, client::SendRequest};
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_check_response, health_client::HealthClient},
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tonic_types::StatusExt as _;
use tower::ServiceBuilder;

use super::*;
use crate::{
    connections::{self, ConnectionSettings},
    limits::Limits,
    proxies::TrustedProxies,
    run_to_completion::RunToCompletion,
};

/// The timeout of a test that hangs.
const LONG: Duration = Duration::from_mins(1);

/// A short timeout.
const SHORT: Duration = Duration::from_millis(500);

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// A symbol whose file descriptor is long.
const SYMBOL: &str = "concord.records.v1.ClientService";

async fn start(set: impl FnOnce(&mut Bounds)) -> SocketAddr {
    let mut bounds = Bounds::new(Credentials::Development);
    set(&mut bounds);
    let health = HealthReporter::new();
    health.set_service_status("", ServingStatus::Serving).await;
    let mut routes = RoutesBuilder::default();
    add_to(&mut routes, health, Some(&[SYMBOL]), bounds).unwrap();
    let service = ServiceBuilder::new()
        .layer(MiddlewareLayer(RunToCompletion))
        .service(routes.routes().prepare());
    let settings = ConnectionSettings {
        limits: Limits::default(),
        age: None,
        proxies: TrustedProxies::default(),
        tls: None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(connections::serve(listener, settings, service, CancellationToken::new()));
    address
}

async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Waits for `work`, and panics if it hangs.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(LONG, work).await.expect("it does not hang")
}

/// An HTTP/2 client with this initial window size.
async fn http2(address: SocketAddr, window: u32) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let handshake = builder.initial_window_size(window).handshake(stream);
    let (client, connection) = soon(handshake).await.unwrap();
    tokio::spawn(connection);
    soon(client.ready()).await.unwrap()
}

/// Starts a call, and ends the request if a message is given.
fn begin(
    client: &mut SendRequest<Bytes>,
    path: &str,
    message: Option<&dyn Framed>,
) -> h2::client::ResponseFuture {
    let request = Request::post(format!("http://concord{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    match message {
        Some(message) => body.send_data(message.framed(), true).unwrap(),
        // Dropping the body would reset the stream.
        None => std::mem::forget(body),
    }
    response
}

trait Framed {
    fn framed(&self) -> Bytes;
}

impl<M: Message> Framed for M {
    /// A message as gRPC frames it.
    fn framed(&self) -> Bytes {
        let message = self.encode_to_vec();
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(message.len().try_into().unwrap());
        framed.extend_from_slice(&message);
        framed.freeze()
    }
}

fn file_of(symbol: &str) -> ServerReflectionRequest {
    let request = MessageRequest::FileContainingSymbol(symbol.to_owned());
    ServerReflectionRequest { host: String::new(), message_request: Some(request) }
}

/// Reads without a window update until the server resets the stream.
async fn is_reset(mut body: RecvStream) -> (usize, h2::Reason) {
    let mut length = 0;
    loop {
        match soon(body.data()).await.expect("no end") {
            Ok(data) => length += data.len(),
            Err(error) => return (length, error.reason().unwrap()),
        }
    }
}

fn quota(status: &Status) -> String {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let details = status.get_error_details();
    assert!(details.retry_info().unwrap().retry_delay.is_some());
    details.quota_failure().unwrap().violations[0].subject.clone()
}

#[tokio::test]
async fn health_and_reflection_respond_within_limits() {
    let channel = channel(start(|_| {}).await).await;
    let checked = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    assert_eq!(
        checked.unwrap().into_inner().status(),
        health_check_response::ServingStatus::Serving
    );
    let requests = tokio_stream::iter([file_of(SYMBOL), file_of("grpc.health.v1.Health")]);
    let answer = ServerReflectionClient::new(channel).server_reflection_info(requests).await;
    let mut answers = answer.unwrap().into_inner();
    let mut lengths = Vec::new();
    while let Some(answer) = soon(answers.message()).await.unwrap() {
        let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
            panic!("no file: {answer:?}")
        };
        lengths.push(files.file_descriptor_proto[0].len());
    }
    assert_eq!(lengths.len(), 2);
    assert!(lengths[0] > MAX_UNREAD_BYTES, "a long response is complete: {lengths:?}");
}

#[tokio::test]
async fn message_over_4_kib_is_refused() {
    let channel = channel(start(|_| {}).await).await;
    let long = HealthCheckRequest { service: "s".repeat(MAX_STANDARD_MESSAGE_BYTES) };
    let refused = HealthClient::new(channel.clone()).check(long).await.unwrap_err();
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "MESSAGE_TOO_LARGE");
    let mut long = file_of(SYMBOL);
    long.host = "h".repeat(MAX_STANDARD_MESSAGE_BYTES);
    let requests = tokio_stream::iter([long]);
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    assert!(soon(answers.message()).await.is_ok_and(|answer| answer.is_none()), "no answer");
}

#[tokio::test]
async fn each_quota_has_a_share_for_one_address() {
    let address = start(|bounds| {
        bounds.watches = Quota::new(10, 2);
        bounds.reflections = Quota::new(1, 1);
    })
    .await;
    let mut health = HealthClient::new(channel(address).await);
    let first = health.watch(HealthCheckRequest::default()).await.unwrap();
    let _second = health.watch(HealthCheckRequest::default()).await.unwrap();
    let refused = health.watch(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(quota(&refused), "health watches");
    health.check(HealthCheckRequest::default()).await.unwrap();
    let mut reflection = ServerReflectionClient::new(channel(address).await);
    let _open = reflection.server_reflection_info(futures::stream::pending()).await.unwrap();
    let refused = reflection.server_reflection_info(futures::stream::pending()).await;
    assert_eq!(quota(&refused.unwrap_err()), "reflection streams");
    drop(first);
    soon(async { while health.watch(HealthCheckRequest::default()).await.is_err() {} }).await;
}

#[tokio::test]
async fn call_without_message_ends_and_releases_its_permit() {
    let address = start(|bounds| {
        bounds.times.health_message = SHORT;
        bounds.checks = Quota::new(1, 1);
        bounds.watches = Quota::new(1, 1);
    })
    .await;
    for path in [CHECK, WATCH] {
        let mut client = http2(address, 1_000).await;
        let silent = begin(&mut client, path, None);
        let refused = soon(begin(&mut client, path, None)).await.unwrap();
        let refused = Status::from_header_map(refused.headers()).unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{path}");
        let ended = soon(silent).await.unwrap();
        let ended = Status::from_header_map(ended.headers()).unwrap();
        assert_eq!(ended.code(), Code::InvalidArgument, "{path}");
        let request = HealthCheckRequest::default();
        let served = soon(begin(&mut client, path, Some(&request))).await.unwrap();
        assert!(Status::from_header_map(served.headers()).is_none(), "{path}: {served:?}");
    }
}

#[tokio::test]
async fn unknown_path_is_rejected_at_once() {
    let address = start(|_| {}).await;
    let mut client = http2(address, 1_000).await;
    for (method, uri) in [
        ("POST", "http://concord/concord.records.v1.NoService/Get"),
        ("POST", "http://concord/grpc.health.v1.Health/Nothing"),
        ("POST", "http://concord/"),
        ("GET", "http://concord/metrics"),
        ("OPTIONS", "http://concord/*"),
        ("CONNECT", "concord:443"),
    ] {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let (response, body) = client.send_request(request, false).unwrap();
        let response = soon(response).await.unwrap();
        let status = Status::from_header_map(response.headers());
        assert_eq!(status.map(|it| it.code()), Some(Code::Unimplemented), "{method} {uri}");
        // The end, or a reset of the unsent request body.
        let mut answer = response.into_body();
        while let Some(Ok(data)) = soon(answer.data()).await {
            assert!(data.is_empty(), "{method} {uri}");
        }
        drop(body);
    }
}

#[tokio::test]
async fn reflection_stream_ends_however_often_it_asks() {
    let address = start(|bounds| bounds.times.reflection = SHORT).await;
    let requests = futures::stream::unfold((), |()| async {
        sleep(SHORT / 10).await;
        Some((file_of("grpc.health.v1.Health"), ()))
    });
    let mut client = ServerReflectionClient::new(channel(address).await);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let mut answered = 0;
    while soon(answers.message()).await.unwrap().is_some() {
        answered += 1;
        assert!(answered < 1_000, "it ends");
    }
    assert!(answered > 0);
}

/// With an empty window the transport takes nothing; with one byte it takes a whole frame.
#[tokio::test]
async fn unread_response_is_reset_and_releases_its_permit() {
    let address = start(|bounds| {
        bounds.times.unread = SHORT;
        bounds.watches = Quota::new(1, 1);
        bounds.reflections = Quota::new(1, 1);
    })
    .await;
    for window in [0, 1] {
        let mut client = http2(address, window).await;
        let response = begin(&mut client, REFLECT, Some(&file_of(SYMBOL)));
        let body = soon(response).await.unwrap().into_body();
        let (length, reason) = is_reset(body).await;
        assert_eq!((length, reason), (window.try_into().unwrap(), h2::Reason::CANCEL));
    }
    let request = HealthCheckRequest::default();
    let mut client = http2(address, 0).await;
    let body = soon(begin(&mut client, WATCH, Some(&request))).await.unwrap().into_body();
    assert_eq!(is_reset(body).await, (0, h2::Reason::CANCEL));
    // A stream whose messages have been read is not reset.
    let mut health = HealthClient::new(channel(address).await);
    let watch = async {
        loop {
            match health.watch(request.clone()).await {
                Ok(watch) => return watch.into_inner(),
                Err(_) => sleep(SHORT / 10).await,
            }
        }
    };
    let mut watch = soon(watch).await;
    assert!(soon(watch.message()).await.unwrap().is_some());
    assert!(timeout(SHORT * 3, watch.message()).await.is_err());
}
