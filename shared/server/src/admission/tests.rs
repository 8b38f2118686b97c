use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::{sync::Semaphore, task::JoinHandle};
use tonic::Code;
use tonic_types::StatusExt as _;
use tower::{Service as _, util::BoxCloneService};

use super::{load_shed::LoadShed, *};
use crate::{middleware::MiddlewareLayer, run_to_completion::RunToCompletion};
use concord_core::caller::{Account, DEFAULT_ACCOUNT, PRACTICE_HEADER, PracticeId, ROLES_HEADER};
use concord_proto::{pb, rpc::ALL};

const GET: &str = "/concord.records.v1.ClientService/GetClient";
const SUBSCRIBE: &str = "/concord.records.v1.ChangeService/Subscribe";
const WATCH: &str = "/concord.imports.v1.ImportService/WatchImport";
const UPLOAD: &str = "/concord.imports.v1.ImportService/UploadBatch";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

pub(super) fn identity(practice: &str, product: &str) -> Identity {
    Identity {
        practice: Some(practice.parse().unwrap()),
        product: product.parse().unwrap(),
        account: DEFAULT_ACCOUNT.parse::<Account>().unwrap(),
        user: String::new(),
        roles: vec![Role::Staff],
        import: None,
    }
}

/// A server whose handlers wait for [`Server::resume`].
#[derive(Clone)]
struct Server {
    stack: BoxCloneService<Request<Body>, Response<Body>, Infallible>,
    admission: Arc<Admission>,
    resumed: Arc<Semaphore>,
    started: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Server {
    fn new(limits: Limits) -> Self {
        let resumed = Arc::new(Semaphore::new(0));
        let (started, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let handler = {
            let (resumed, started, ended) = (resumed.clone(), started.clone(), ended.clone());
            tower::service_fn(move |_: Request<Body>| {
                let (resumed, started, ended) = (resumed.clone(), started.clone(), ended.clone());
                async move {
                    started.fetch_add(1, Ordering::SeqCst);
                    resumed.acquire().await.unwrap().forget();
                    ended.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(Response::new(Body::new("done".to_owned())))
                }
            })
        };
        let admission = Arc::new(Admission::new(limits));
        let stack = tower::ServiceBuilder::new()
            .layer(MiddlewareLayer(LoadShed(Arc::clone(&admission))))
            .layer(MiddlewareLayer(AdmissionControl(Arc::clone(&admission))))
            .layer(MiddlewareLayer(RunToCompletion))
            .service(handler);
        Self { stack: BoxCloneService::new(stack), admission, resumed, started, ended }
    }

    fn call(&self, path: &str) -> JoinHandle<Response<Body>> {
        self.call_with(path, identity("p1", "books"), None)
    }

    fn call_with(
        &self,
        path: &str,
        identity: Identity,
        timeout: Option<&str>,
    ) -> JoinHandle<Response<Body>> {
        self.call_of(path, identity, timeout, Body::empty())
    }

    fn call_of(
        &self,
        path: &str,
        identity: Identity,
        timeout: Option<&str>,
        body: Body,
    ) -> JoinHandle<Response<Body>> {
        let roles = identity.roles[0].to_string();
        let practice = identity.practice.as_ref().map_or("", PracticeId::as_str).to_owned();
        let request = Request::builder().uri(path).extension(identity);
        let mut request = request.header(PRACTICE_HEADER, practice).header(ROLES_HEADER, roles);
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let answer = self.stack.clone().call(request.body(body).unwrap());
        tokio::spawn(async move { answer.await.unwrap() })
    }

    async fn rejected(&self, path: &str) -> Status {
        status(self.call(path)).await
    }

    /// Returns `true` if calls of `books` in `p1` are rejected.
    fn is_full(&self) -> bool {
        self.admission.concurrency.is_full_for(&Tenant::of(&identity("p1", "books")))
    }

    /// Resumes so many handlers.
    fn resume(&self, handlers: usize) {
        self.resumed.add_permits(handlers);
    }

    async fn has_started(&self, calls: usize) {
        until(|| self.started.load(Ordering::SeqCst) == calls).await;
    }

    async fn has_ended(&self, calls: usize) {
        until(|| self.ended.load(Ordering::SeqCst) == calls).await;
    }
}

async fn until(happened: impl Fn() -> bool) {
    let late = Instant::now() + Duration::from_secs(20);
    while !happened() {
        assert!(Instant::now() < late, "it did not happen in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn status(call: JoinHandle<Response<Body>>) -> Status {
    let answer = call.await.unwrap();
    Status::from_header_map(answer.headers()).expect("an error status")
}

fn reported(status: &Status) -> (Code, String) {
    let info = status.get_error_details().error_info().unwrap().reason.clone();
    (status.code(), info)
}

fn retry_delay(status: &Status) -> Duration {
    status.get_error_details().retry_info().unwrap().retry_delay.unwrap()
}

fn overloaded_error() -> (Code, String) {
    (Code::Unavailable, "OVERLOADED".to_owned())
}

fn is_answered(answer: &Response<Body>) -> bool {
    answer.headers().get("grpc-status").is_none()
}

fn limits(calls: u32, waiting_calls: u32) -> Limits {
    Limits { calls, waiting_calls, ..Limits::default() }
}

#[tokio::test]
async fn calls_over_limit_queue_and_excess_is_rejected() {
    let server = Server::new(limits(2, 1));
    let running = [server.call(GET), server.call(GET)];
    server.has_started(2).await;
    let queued = server.call(GET);
    until(|| server.is_full()).await;
    let refused = server.rejected(GET).await;
    assert_eq!(reported(&refused), overloaded_error());
    assert!(retry_delay(&refused) >= Duration::from_secs(1));
    server.resume(3);
    for call in running.into_iter().chain([queued]) {
        assert!(is_answered(&call.await.unwrap()));
    }
    assert_eq!(server.started.load(Ordering::SeqCst), 3, "a rejected call is not started");
}

#[tokio::test]
async fn overloaded_server_answers_health() {
    let server = Server::new(limits(1, 0));
    let _running = server.call(GET);
    server.has_started(1).await;
    assert_eq!(reported(&server.rejected(GET).await), overloaded_error());
    let _health = server.call(HEALTH);
    server.has_started(2).await;
}

#[tokio::test]
async fn queued_call_is_rejected_after_max_wait() {
    let server = Server::new(limits(1, 1));
    let _running = server.call(GET);
    server.has_started(1).await;
    let began = Instant::now();
    assert_eq!(reported(&server.rejected(GET).await), overloaded_error());
    assert!(began.elapsed() >= crate::limits::MAX_WAIT);
    assert!(!server.is_full(), "it left the queue");
}

#[tokio::test]
async fn cancelled_call_holds_permit_until_handler_ends() {
    let server = Server::new(limits(1, 0));
    let caller = server.call(GET);
    server.has_started(1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(reported(&server.rejected(GET).await), overloaded_error(), "its handler still runs");
    server.resume(2);
    server.has_ended(1).await;
    until(|| !server.is_full()).await;
    assert!(is_answered(&server.call(GET).await.unwrap()));
}

#[tokio::test]
async fn cancelled_queued_call_is_not_started() {
    let server = Server::new(limits(1, 1));
    let _running = server.call(GET);
    server.has_started(1).await;
    let caller = server.call(GET);
    until(|| server.is_full()).await;
    caller.abort();
    until(|| !server.is_full()).await;
    server.resume(2);
    server.has_ended(1).await;
    assert_eq!(server.started.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn late_call_reports_deadline_and_handler_completes() {
    let server = Server::new(limits(1, 1));
    let late = status(server.call_with(GET, identity("p1", "books"), Some("100m"))).await;
    assert_eq!(reported(&late), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    assert_eq!(late.get_error_details().error_info().unwrap().metadata["begun"], "true");
    server.resume(1);
    server.has_ended(1).await;
}

#[tokio::test]
async fn queued_call_past_deadline_is_not_started() {
    let server = Server::new(limits(1, 1));
    let _running = server.call(GET);
    server.has_started(1).await;
    for timeout in ["100m", "1n"] {
        let late = status(server.call_with(GET, identity("p1", "books"), Some(timeout))).await;
        assert_eq!(reported(&late), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
        assert_eq!(late.get_error_details().error_info().unwrap().metadata["begun"], "false");
    }
    server.resume(1);
    server.has_ended(1).await;
    // Also with a free permit.
    let late = status(server.call_with(GET, identity("p1", "books"), Some("1n"))).await;
    assert_eq!(late.get_error_details().error_info().unwrap().metadata["begun"], "false");
    assert_eq!(server.started.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn call_is_limited_by_server_call_time() {
    let limits = Limits { call_time: Duration::from_millis(100), ..Limits::default() };
    let server = Server::new(limits);
    let late = status(server.call_with(GET, identity("p1", "books"), Some("1H"))).await;
    assert_eq!(late.code(), Code::DeadlineExceeded);
    // An upload has no time limit of the server.
    let upload = server.call(UPLOAD);
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.resume(2);
    assert!(is_answered(&upload.await.unwrap()));
}

#[tokio::test]
async fn stream_holds_stream_permit_but_no_call_permit() {
    let server = Server::new(Limits { streams_of_product: 1, ..limits(1, 0) });
    server.resume(4);
    let stream = server.call(SUBSCRIBE).await.unwrap();
    let refused = server.rejected(SUBSCRIBE).await;
    assert_eq!(reported(&refused), (Code::ResourceExhausted, "LIMIT_REACHED".to_owned()));
    assert!(retry_delay(&refused) >= Duration::from_secs(1));
    assert!(
        is_answered(&server.call(GET).await.unwrap()),
        "an open stream does not count as a running call"
    );
    let other = server.call_with(SUBSCRIBE, identity("p1", "ap"), None).await.unwrap();
    drop(stream);
    assert!(is_answered(&server.call(SUBSCRIBE).await.unwrap()));
    drop(other);
}

#[tokio::test]
async fn import_streams_of_practice_are_limited() {
    let server = Server::new(Limits { streams_of_practice: 1, ..Limits::default() });
    server.resume(3);
    let _watch = server.call(WATCH).await.unwrap();
    let of_other_product = status(server.call_with(WATCH, identity("p1", "ap"), None)).await;
    assert_eq!(of_other_product.code(), Code::ResourceExhausted);
    let other = server.call_with(WATCH, identity("p2", "books"), None).await.unwrap();
    assert!(is_answered(&other));
}

#[tokio::test]
async fn uploads_have_separate_limit() {
    let server = Server::new(limits(1, 0));
    let share = usize::try_from(OPEN_UPLOADS_SHARE.alone(MAX_OPEN_UPLOADS)).unwrap();
    let mut uploads: Vec<_> = (0..share).map(|_| server.call(UPLOAD)).collect();
    server.has_started(share).await;
    let refused = server.rejected(UPLOAD).await;
    assert_eq!(reported(&refused), (Code::ResourceExhausted, "LIMIT_REACHED".to_owned()));
    // Another practice may still upload.
    uploads.push(server.call_with(UPLOAD, identity("p2", "books"), None));
    server.has_started(share + 1).await;
    server.resume(share + 2);
    assert!(is_answered(&server.call(GET).await.unwrap()));
    for upload in uploads {
        assert!(is_answered(&upload.await.unwrap()));
    }
}

#[tokio::test]
async fn calls_of_imports_service_are_not_rate_limited() {
    let server =
        Server::new(Limits { requests_at_once: 1, requests_per_second: 1, ..Limits::default() });
    server.resume(20);
    assert!(is_answered(&server.call(GET).await.unwrap()));
    assert_eq!(server.rejected(GET).await.code(), Code::ResourceExhausted);
    let service = Identity { roles: vec![Role::Service], ..identity("p1", "books") };
    for _ in 0..10 {
        assert!(is_answered(&server.call_with(GET, service.clone(), None).await.unwrap()));
    }
}

#[test]
fn every_streaming_rpc_has_a_limit() {
    let files = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap().file;
    for file in files.iter().filter(|file| file.package().starts_with("concord.")) {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let (rpc, _) = ALL.iter().find(|(_, other)| *other == path).unwrap();
                let kind = Kind::of(*rpc, &identity("p1", "books"));
                let streaming = (method.client_streaming(), method.server_streaming());
                let expected = match kind {
                    Kind::Call => (false, false),
                    Kind::Stream(_) => (false, true),
                    Kind::Upload => (true, false),
                };
                assert_eq!(streaming, expected, "{path}");
            }
        }
    }
}

/// A body that stays pending.
struct Never;

impl http_body::Body for Never {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Status>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn call_without_message_holds_no_permit() {
    let message_time = Duration::from_secs(2);
    let server = Server::new(Limits { message_time, ..limits(2, 0) });
    server.resume(1);
    let silent: Vec<_> = (0..64)
        .map(|_| server.call_of(GET, identity("p2", "ap"), None, Body::new(Never)))
        .collect();
    until(|| server.admission.messages.taken() > 0).await;
    assert!(is_answered(&server.call(GET).await.unwrap()), "other tenants are served");
    for call in silent {
        let late = status(call).await;
        assert_eq!(reported(&late), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
        assert_eq!(late.get_error_details().error_info().unwrap().metadata["begun"], "false");
    }
    assert_eq!(server.started.load(Ordering::SeqCst), 1);
    assert_eq!(server.admission.messages.taken(), 0);
}

#[tokio::test]
async fn overloading_tenant_is_shed_before_authentication() {
    let server = Server::new(limits(16, 16));
    let of_one: Vec<_> = (0..22).map(|_| server.call(GET)).collect();
    server.has_started(14).await;
    until(|| server.is_full()).await;
    assert!(server.admission.overloaded.tenants().is_empty(), "no call was rejected yet");
    assert_eq!(reported(&server.rejected(GET).await), overloaded_error());
    assert_eq!(server.admission.overloaded.tenants().len(), 1);
    assert_eq!(reported(&server.rejected(GET).await), overloaded_error());
    // Other tenants, including the imports service on behalf of the same product.
    let service = Identity { roles: vec![Role::Service], ..identity("p1", "books") };
    let others = [server.call_with(GET, identity("p2", "books"), None)];
    server.has_started(15).await;
    let service = server.call_with(GET, service, None);
    server.has_started(16).await;
    server.resume(24);
    for call in of_one.into_iter().chain(others).chain([service]) {
        assert!(is_answered(&call.await.unwrap()));
    }
    server.resume(1);
    until(|| !server.is_full()).await;
    assert!(is_answered(&server.call(GET).await.unwrap()));
    assert!(server.admission.overloaded.tenants().is_empty());
}
