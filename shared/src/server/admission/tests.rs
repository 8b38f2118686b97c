use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::{Request, Response};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::{sync::Semaphore, task::JoinHandle};
use tonic::Code;
use tonic_types::StatusExt as _;
use tower::util::BoxCloneService;

use super::{door::DoorLayer, *};
use crate::{
    access::ALL,
    caller::{Account, DEFAULT_ACCOUNT, PRACTICE_HEADER, PracticeId, ROLES_HEADER},
    pb,
    server::shield::ShieldLayer,
};

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

/// A server whose handlers wait until they are let go on.
#[derive(Clone)]
struct Server {
    stack: BoxCloneService<Request<Body>, Response<Body>, Infallible>,
    admission: Arc<Admission>,
    go_on: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Server {
    fn new(limits: Limits) -> Self {
        let go_on = Arc::new(Semaphore::new(0));
        let (begun, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let handler = {
            let (go_on, begun, ended) = (go_on.clone(), begun.clone(), ended.clone());
            tower::service_fn(move |_: Request<Body>| {
                let (go_on, begun, ended) = (go_on.clone(), begun.clone(), ended.clone());
                async move {
                    begun.fetch_add(1, Ordering::SeqCst);
                    go_on.acquire().await.unwrap().forget();
                    ended.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(Response::new(Body::new("told".to_owned())))
                }
            })
        };
        let admission = Arc::new(Admission::new(limits));
        let stack = tower::ServiceBuilder::new()
            .layer(DoorLayer::new(Arc::clone(&admission)))
            .layer(AdmissionLayer::new(Arc::clone(&admission)))
            .layer(ShieldLayer)
            .service(handler);
        Self { stack: BoxCloneService::new(stack), admission, go_on, begun, ended }
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

    async fn refused(&self, path: &str) -> Status {
        status(self.call(path)).await
    }

    /// Whether calls of `p1` and `books` are refused.
    fn is_full(&self) -> bool {
        self.admission.places.are_full_for(&Tenant::of(&identity("p1", "books")))
    }

    /// Lets so many handlers go on.
    fn let_go_on(&self, handlers: usize) {
        self.go_on.add_permits(handlers);
    }

    async fn has_begun(&self, calls: usize) {
        until(|| self.begun.load(Ordering::SeqCst) == calls).await;
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
    Status::from_header_map(answer.headers()).expect("a refusal")
}

fn told(status: &Status) -> (Code, String) {
    let info = status.get_error_details().error_info().unwrap().reason.clone();
    (status.code(), info)
}

fn retry_delay(status: &Status) -> Duration {
    status.get_error_details().retry_info().unwrap().retry_delay.unwrap()
}

fn is_overloaded() -> (Code, String) {
    (Code::Unavailable, "OVERLOADED".to_owned())
}

fn is_answered(answer: &Response<Body>) -> bool {
    answer.headers().get("grpc-status").is_none()
}

fn limits(calls: u32, waiting_calls: u32) -> Limits {
    Limits { calls, waiting_calls, ..Limits::default() }
}

#[tokio::test]
async fn calls_over_the_bound_wait_and_those_over_the_queue_are_turned_away() {
    let server = Server::new(limits(2, 1));
    let at_work = [server.call(GET), server.call(GET)];
    server.has_begun(2).await;
    let waits = server.call(GET);
    until(|| server.is_full()).await;
    let refused = server.refused(GET).await;
    assert_eq!(told(&refused), is_overloaded());
    assert!(retry_delay(&refused) >= Duration::from_secs(1));
    server.let_go_on(3);
    for call in at_work.into_iter().chain([waits]) {
        assert!(is_answered(&call.await.unwrap()));
    }
    assert_eq!(server.begun.load(Ordering::SeqCst), 3, "what is turned away is not begun");
}

#[tokio::test]
async fn a_full_server_still_says_how_it_is() {
    let server = Server::new(limits(1, 0));
    let _at_work = server.call(GET);
    server.has_begun(1).await;
    assert_eq!(told(&server.refused(GET).await), is_overloaded());
    let _health = server.call(HEALTH);
    server.has_begun(2).await;
}

#[tokio::test]
async fn a_call_that_waits_too_long_is_sent_away() {
    let server = Server::new(limits(1, 1));
    let _at_work = server.call(GET);
    server.has_begun(1).await;
    let began = Instant::now();
    assert_eq!(told(&server.refused(GET).await), is_overloaded());
    assert!(began.elapsed() >= crate::server::limits::MAX_WAIT);
    assert!(!server.is_full(), "it waits no longer");
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_the_place_to_the_work() {
    let server = Server::new(limits(1, 0));
    let caller = server.call(GET);
    server.has_begun(1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(told(&server.refused(GET).await), is_overloaded(), "its handler is at work");
    server.let_go_on(2);
    server.has_ended(1).await;
    until(|| !server.is_full()).await;
    assert!(is_answered(&server.call(GET).await.unwrap()));
}

#[tokio::test]
async fn a_caller_who_goes_away_while_it_waits_is_not_served() {
    let server = Server::new(limits(1, 1));
    let _at_work = server.call(GET);
    server.has_begun(1).await;
    let caller = server.call(GET);
    until(|| server.is_full()).await;
    caller.abort();
    until(|| !server.is_full()).await;
    server.let_go_on(2);
    server.has_ended(1).await;
    assert_eq!(server.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_late_answer_is_told_as_late_and_its_work_goes_on() {
    let server = Server::new(limits(1, 1));
    let late = status(server.call_with(GET, identity("p1", "books"), Some("100m"))).await;
    assert_eq!(told(&late), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    assert_eq!(late.get_error_details().error_info().unwrap().metadata["begun"], "true");
    server.let_go_on(1);
    server.has_ended(1).await;
}

#[tokio::test]
async fn a_call_whose_deadline_passes_while_it_waits_is_not_begun() {
    let server = Server::new(limits(1, 1));
    let _at_work = server.call(GET);
    server.has_begun(1).await;
    for timeout in ["100m", "1n"] {
        let late = status(server.call_with(GET, identity("p1", "books"), Some(timeout))).await;
        assert_eq!(told(&late), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
        assert_eq!(late.get_error_details().error_info().unwrap().metadata["begun"], "false");
    }
    server.let_go_on(1);
    server.has_ended(1).await;
    // With room for it, too: nobody waits for the answer any longer.
    let late = status(server.call_with(GET, identity("p1", "books"), Some("1n"))).await;
    assert_eq!(late.get_error_details().error_info().unwrap().metadata["begun"], "false");
    assert_eq!(server.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_takes_no_longer_than_the_server_allows() {
    let limits = Limits { call_time: Duration::from_millis(100), ..Limits::default() };
    let server = Server::new(limits);
    let late = status(server.call_with(GET, identity("p1", "books"), Some("1H"))).await;
    assert_eq!(late.code(), Code::DeadlineExceeded);
    // An upload takes as long as its bytes take to come.
    let upload = server.call(UPLOAD);
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.let_go_on(2);
    assert!(is_answered(&upload.await.unwrap()));
}

#[tokio::test]
async fn a_stream_has_its_place_until_its_body_ends_and_is_not_at_work() {
    let server = Server::new(Limits { streams_of_product: 1, ..limits(1, 0) });
    server.let_go_on(4);
    let stream = server.call(SUBSCRIBE).await.unwrap();
    let refused = server.refused(SUBSCRIBE).await;
    assert_eq!(told(&refused), (Code::ResourceExhausted, "LIMIT_REACHED".to_owned()));
    assert!(retry_delay(&refused) >= Duration::from_secs(1));
    assert!(is_answered(&server.call(GET).await.unwrap()), "an open stream is not at work");
    let other = server.call_with(SUBSCRIBE, identity("p1", "ap"), None).await.unwrap();
    drop(stream);
    assert!(is_answered(&server.call(SUBSCRIBE).await.unwrap()));
    drop(other);
}

#[tokio::test]
async fn a_practice_has_so_many_streams_about_imports() {
    let server = Server::new(Limits { streams_of_practice: 1, ..Limits::default() });
    server.let_go_on(3);
    let _watch = server.call(WATCH).await.unwrap();
    let of_other_product = status(server.call_with(WATCH, identity("p1", "ap"), None)).await;
    assert_eq!(of_other_product.code(), Code::ResourceExhausted);
    let other = server.call_with(WATCH, identity("p2", "books"), None).await.unwrap();
    assert!(is_answered(&other));
}

#[tokio::test]
async fn uploads_have_places_of_their_own() {
    let server = Server::new(limits(1, 0));
    let share = usize::try_from(OPEN_UPLOADS_SHARE.alone(MAX_OPEN_UPLOADS)).unwrap();
    let mut uploads: Vec<_> = (0..share).map(|_| server.call(UPLOAD)).collect();
    server.has_begun(share).await;
    let refused = server.refused(UPLOAD).await;
    assert_eq!(told(&refused), (Code::ResourceExhausted, "LIMIT_REACHED".to_owned()));
    // Another practice has some left.
    uploads.push(server.call_with(UPLOAD, identity("p2", "books"), None));
    server.has_begun(share + 1).await;
    server.let_go_on(share + 2);
    assert!(is_answered(&server.call(GET).await.unwrap()));
    for upload in uploads {
        assert!(is_answered(&upload.await.unwrap()));
    }
}

#[tokio::test]
async fn calls_for_an_import_do_not_count_as_the_products_own() {
    let server =
        Server::new(Limits { requests_at_once: 1, requests_per_second: 1, ..Limits::default() });
    server.let_go_on(20);
    assert!(is_answered(&server.call(GET).await.unwrap()));
    assert_eq!(server.refused(GET).await.code(), Code::ResourceExhausted);
    let service = Identity { roles: vec![Role::Service], ..identity("p1", "books") };
    for _ in 0..10 {
        assert!(is_answered(&server.call_with(GET, service.clone(), None).await.unwrap()));
    }
}

#[test]
fn every_stream_of_the_protocol_has_a_bound() {
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

/// A body that never comes.
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
async fn a_call_whose_message_does_not_come_has_no_place() {
    let message_time = Duration::from_secs(2);
    let server = Server::new(Limits { message_time, ..limits(2, 0) });
    server.let_go_on(1);
    let silent: Vec<_> = (0..64)
        .map(|_| server.call_of(GET, identity("p2", "ap"), None, Body::new(Never)))
        .collect();
    until(|| server.admission.messages.taken() > 0).await;
    assert!(is_answered(&server.call(GET).await.unwrap()), "there is room for others");
    for call in silent {
        let late = status(call).await;
        assert_eq!(told(&late), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
        assert_eq!(late.get_error_details().error_info().unwrap().metadata["begun"], "false");
    }
    assert_eq!(server.begun.load(Ordering::SeqCst), 1);
    assert_eq!(server.admission.messages.taken(), 0);
}

#[tokio::test]
async fn one_tenant_leaves_places_to_others_and_is_refused_before_its_credentials() {
    let server = Server::new(limits(16, 16));
    let of_one: Vec<_> = (0..22).map(|_| server.call(GET)).collect();
    server.has_begun(14).await;
    until(|| server.is_full()).await;
    assert!(server.admission.known.tenants().is_empty(), "nobody was refused yet");
    assert_eq!(told(&server.refused(GET).await), is_overloaded());
    assert_eq!(server.admission.known.tenants().len(), 1);
    assert_eq!(told(&server.refused(GET).await), is_overloaded());
    // Others, and the imports service on behalf of the same product.
    let service = Identity { roles: vec![Role::Service], ..identity("p1", "books") };
    let others = [server.call_with(GET, identity("p2", "books"), None)];
    server.has_begun(15).await;
    let service = server.call_with(GET, service, None);
    server.has_begun(16).await;
    server.let_go_on(24);
    for call in of_one.into_iter().chain(others).chain([service]) {
        assert!(is_answered(&call.await.unwrap()));
    }
    server.let_go_on(1);
    until(|| !server.is_full()).await;
    assert!(is_answered(&server.call(GET).await.unwrap()));
    assert!(server.admission.known.tenants().is_empty());
}
