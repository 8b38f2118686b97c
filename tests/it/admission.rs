//! Admission control: limits of calls, streams, connections and time. A request over a
//! limit is rejected with a retry delay and without side effects.

use std::{sync::Arc, time::Duration};

use concord_db::TenantScope;
use concord_proto::pb::{
    imports::{CreateImportRequest, WatchImportRequest},
    records::GetClientRequest,
};
use concord_testing::{TestDb, storage_tests};
use sea_orm::{ConnectionTrait as _, DbErr};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use concord_testing::e2e::{
    caller::Caller,
    feed::{EventStream, connect_all, from_earliest},
    importing,
    records::{assert_refused, client, company, create, reason},
    servers::{self, Running},
};

storage_tests! {
    product_over_rate_limit_gets_retry_delay,
    streams_over_product_limit_are_refused,
    import_streams_over_practice_limit_are_refused,
    overloaded_server_sheds_load_and_stays_healthy,
    call_past_deadline_fails_and_still_commits,
    connections_over_limit_are_closed,
}

fn retry_delay(status: &Status) -> Duration {
    status.get_error_details().retry_info().unwrap().retry_delay.unwrap()
}

fn quota(status: &Status) -> String {
    status.get_error_details().quota_failure().unwrap().violations[0].subject.clone()
}

async fn product_over_rate_limit_gets_retry_delay(db: TestDb) {
    let server = servers::records_with(db.settings(), |config| {
        config.limits.requests_per_second = 2;
        config.limits.requests_at_once = 6;
    })
    .await;
    let owner = async |product| server.owner("p1", product).await;
    // One call to connect, one to create.
    let manager = owner("manager").await.connect().await;
    create(&manager, company("ACME", "Acme Limited")).await;
    let get = async |caller: &Caller| {
        caller.clients().get_client(GetClientRequest { client: "ref:ACME".into() }).await
    };
    let (mut answered, mut rejection) = (0, None);
    while rejection.is_none() {
        match get(&manager).await {
            Ok(_) => answered += 1,
            Err(status) => rejection = Some(status),
        }
        assert!(answered < 50, "there is a limit");
    }
    let rejection = rejection.unwrap();
    assert!(answered >= 4, "burst size: {answered}");
    assert_eq!(
        (rejection.code(), reason(&rejection).as_str()),
        (Code::ResourceExhausted, "LIMIT_REACHED")
    );
    assert_eq!(quota(&rejection), "requests");
    let wait = retry_delay(&rejection);
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(500), "{wait:?}");
    // The rate limit is per product: others are not affected.
    owner("books").await.connect().await;
    sleep(wait).await;
    get(&manager).await.unwrap();
    server.stop().await;
}

async fn streams_over_product_limit_are_refused(db: TestDb) {
    let server = servers::records_with(db.settings(), |config| {
        config.limits.streams_of_product = 6;
        config.limits.streams = 7;
    })
    .await;
    let owner = async |practice, product| server.owner(practice, product).await;
    let refused_for = async |caller: &Caller, wanted: &str| {
        let refused = EventStream::try_open(caller, from_earliest()).await;
        let refused = assert_refused(refused, Code::ResourceExhausted, "LIMIT_REACHED");
        assert_eq!(quota(&refused), wanted);
        assert!(retry_delay(&refused) >= Duration::from_secs(1));
    };
    let manager = owner("p1", "manager").await.connect().await;
    let first = EventStream::open(&manager, from_earliest()).await;
    let mut open = vec![EventStream::open(&manager, from_earliest()).await];
    refused_for(&manager, "streams of the practice in the product").await;
    for practice in ["p2", "p3", "p4", "p5"] {
        let other = owner(practice, "manager").await.connect().await;
        open.push(EventStream::open(&other, from_earliest()).await);
    }
    let last = owner("p6", "manager").await.connect().await;
    refused_for(&last, "streams of the product").await;
    let books = owner("p1", "books").await.connect().await;
    open.push(EventStream::open(&books, from_earliest()).await);
    let more = owner("p2", "books").await.connect().await;
    refused_for(&more, "streams").await;
    // A refused stream takes no permit. A stream that ends releases its permit.
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(10);
    while EventStream::try_open(&last, from_earliest()).await.is_err() {
        assert!(Instant::now() < deadline, "the permit of the ended stream");
        sleep(Duration::from_millis(20)).await;
    }
    server.stop().await;
}

async fn import_streams_over_practice_limit_are_refused(db: TestDb) {
    let records = servers::records(db.settings()).await;
    connect_all(&records, "p1", &["manager"]).await;
    let imports = servers::imports_with(db.sibling("imports"), &records.url, |config| {
        config.limits.streams_of_practice = 2;
    })
    .await;
    let manager = imports.owner("p1", "manager").await;
    let import_id = importing::create(&manager, CreateImportRequest::default()).await;
    let watch = async |caller: &Caller| {
        let request = WatchImportRequest { import_id: import_id.clone() };
        caller.imports().watch_import(request).await
    };
    let _watching = [watch(&manager).await.unwrap(), watch(&manager).await.unwrap()];
    let books = manager.clone().with("x-concord-product", "books");
    let refused = assert_refused(watch(&books).await, Code::ResourceExhausted, "LIMIT_REACHED");
    assert_eq!(quota(&refused), "streams of the practice");
    // The limit is per practice: another practice is refused for another reason.
    let other = manager.clone().with("x-concord-practice", "p2");
    assert_ne!(watch(&other).await.unwrap_err().code(), Code::ResourceExhausted);
    imports.stop().await;
    records.stop().await;
}

/// Another writer that blocks all writes until it is released.
struct WriteBlocker {
    release: CancellationToken,
    task: JoinHandle<()>,
}

impl WriteBlocker {
    async fn start(db: &TestDb) -> Self {
        let (begun, release) = (CancellationToken::new(), CancellationToken::new());
        let (database, postgres) = (db.database().await, db.is_postgres());
        let (blocking, until) = (begun.clone(), release.clone());
        let task = tokio::spawn(async move {
            let written = database.write(TenantScope::AllPractices, move |tx| {
                let (blocking, until) = (blocking.clone(), until.clone());
                async move {
                    // On SQLite any write transaction blocks all others.
                    if postgres {
                        tx.execute_unprepared("LOCK TABLE client IN ACCESS EXCLUSIVE MODE").await?;
                    }
                    blocking.cancel();
                    until.cancelled().await;
                    Ok::<_, DbErr>(())
                }
            });
            written.await.unwrap();
        });
        begun.cancelled().await;
        Self { release, task }
    }

    async fn release(self) {
        self.release.cancel();
        self.task.await.unwrap();
    }
}

async fn is_healthy(channel: Channel) -> bool {
    let request = HealthCheckRequest { service: "concord.records.v1.ClientService".into() };
    let answer = HealthClient::new(channel).check(request).await.unwrap().into_inner();
    answer.status() == tonic_health::pb::health_check_response::ServingStatus::Serving
}

async fn overloaded_server_sheds_load_and_stays_healthy(db: TestDb) {
    let server = servers::records_with(db.settings(), |config| {
        config.limits.calls = 2;
        config.limits.waiting_calls = 2;
    })
    .await;
    connect_all(&server, "p1", &["manager"]).await;
    let server = Arc::new(server);
    let blocker = WriteBlocker::start(&db).await;
    let calls: Vec<_> = (0..8).map(|n| tokio::spawn(save(Arc::clone(&server), n))).collect();
    let mut outcomes = Vec::new();
    // Two calls run, two wait until their queue time is over, four are shed at once.
    sleep(Duration::from_secs(1)).await;
    assert!(is_healthy(server.channel().await).await);
    sleep(Duration::from_millis(1_500)).await;
    blocker.release().await;
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(done, 2, "{outcomes:?}");
    let manager = server.owner("p1", "manager").await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let get = GetClientRequest { client: format!("ref:R{number}") };
        let got = manager.clients().get_client(get).await;
        match outcome {
            Ok(()) => assert!(got.is_ok()),
            Err(status) => {
                let rejection = (status.code(), reason(&status));
                assert_eq!(rejection, (Code::Unavailable, "OVERLOADED".to_owned()), "{status:?}");
                assert!(retry_delay(&status) >= Duration::from_secs(1));
                assert_eq!(
                    got.unwrap_err().code(),
                    Code::NotFound,
                    "a shed call has no side effects"
                );
            }
        }
    }
    Arc::into_inner(server).unwrap().stop().await;
}

async fn save(server: Arc<Running>, number: usize) -> Result<(), Status> {
    let manager = server.owner("p1", "manager").await;
    let request = company(&format!("R{number}"), "Acme Limited");
    manager.clients().create_client(request).await.map(drop)
}

async fn call_past_deadline_fails_and_still_commits(db: TestDb) {
    let server = servers::records_with(db.settings(), |config| {
        config.limits.call_time = Duration::from_millis(500);
    })
    .await;
    connect_all(&server, "p1", &["manager"]).await;
    let manager = server.owner("p1", "manager").await;
    let blocker = WriteBlocker::start(&db).await;
    let request = company("LATE", "Late Limited");
    let outcome = manager.clients().create_client(request.clone()).await;
    let status = assert_refused(outcome, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["begun"], "true");
    blocker.release().await;
    // A retry with the same request id is answered. The call was applied once.
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(status) = manager.clients().create_client(request.clone()).await {
        assert!(Instant::now() < deadline, "{status:?}");
    }
    assert_eq!(client(&manager, "ref:LATE").await.version, 1);
    server.stop().await;
}

async fn connections_over_limit_are_closed(db: TestDb) {
    let server = servers::records_with(db.settings(), |config| config.limits.connections = 2).await;
    let first = server.channel().await;
    assert!(is_healthy(first.clone()).await);
    let second = server.channel().await;
    assert!(is_healthy(second.clone()).await);
    let third = Channel::from_shared(server.url.clone()).unwrap().connect_lazy();
    let request = HealthCheckRequest::default();
    let refused = HealthClient::new(third.clone()).check(request.clone()).await.unwrap_err();
    assert!(refused.get_error_details().error_info().is_none(), "it was closed: {refused:?}");
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(10);
    while HealthClient::new(third.clone()).check(request.clone()).await.is_err() {
        assert!(Instant::now() < deadline, "the permit of the closed connection");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(is_healthy(second).await);
    server.stop().await;
}
