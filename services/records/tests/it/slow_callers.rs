//! Slow and malicious callers: missing messages, unread answers, streams that stay open.
//! Other callers are not affected, and memory is bounded.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use concord_proto::pb::records::{GetClientRequest, ListClientsRequest};
use concord_testing::{TestDb, storage_tests};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tonic::Code;

use concord_testing::e2e::{
    feed::{EventStream, connect_all, from_earliest, from_snapshot},
    http2::{Call, Http2, frame, read_to_end},
    records::{assert_refused, company, create, create_large},
    servers,
};

storage_tests! {
    calls_without_message_hold_no_permit,
    unread_answers_are_bounded_and_dropped,
    unread_snapshot_buffers_one_message,
    streams_of_one_practice_do_not_exhaust_others,
}

const GET: &str = "concord.records.v1.ClientService/GetClient";
const LIST: &str = "concord.records.v1.ClientService/ListClients";
const SUBSCRIBE: &str = "concord.records.v1.ChangeService/Subscribe";

/// A call or condition that takes longer than this has failed.
const TIMEOUT: Duration = Duration::from_mins(1);

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Reads a gauge from the metrics endpoint.
async fn gauge(metrics: SocketAddr, name: &str) -> f64 {
    let mut connection = TcpStream::connect(metrics).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    connection.write_all(request).await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

async fn wait_until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !happened().await {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn calls_without_message_hold_no_permit(db: TestDb) {
    let server = servers::records_with(db.settings(), |config| {
        config.limits.message_time = Duration::from_secs(3);
    })
    .await;
    connect_all(&server, "p1", &["manager"]).await;
    let manager = server.owner("p1", "manager").await;
    create(&manager, company("ACME", "Acme Limited")).await;
    // No message, a part of a message, and a message without the end of the stream.
    let get = frame(&GetClientRequest { client: "ref:ACME".into() });
    let mut attacker = Http2::connect(&server.url, 65_535).await;
    let mut calls: Vec<Call> = Vec::new();
    for number in 0..192 {
        let mut call = attacker.begin(GET, "p2", "books").await;
        match number % 3 {
            0 => {}
            1 => call.message.send_data(get.slice(..7), false).unwrap(),
            _ => call.message.send_data(get.clone(), false).unwrap(),
        }
        calls.push(call);
    }
    // Other calls are answered while these are open.
    for _ in 0..20 {
        let request = GetClientRequest { client: "ref:ACME".into() };
        timeout(TIMEOUT, manager.clients().get_client(request)).await.unwrap().unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    let (mut held, mut answers) = (Vec::new(), Vec::new());
    for Call { answer, message } in calls {
        held.push(message);
        answers.push(answer);
    }
    for answer in answers {
        let (_, status) = timeout(TIMEOUT, read_to_end(answer)).await.unwrap();
        assert_eq!(status, "4", "DEADLINE_EXCEEDED");
    }
    server.stop().await;
}

const MIB: u64 = 1_024 * 1_024;

async fn unread_answers_are_bounded_and_dropped(db: TestDb) {
    let metrics = free_address();
    let server = servers::records_with(db.settings(), |config| {
        config.limits.answer_bytes = 4 * MIB;
        config.limits.answer_time = Duration::from_secs(3);
        config.metrics_listen = Some(metrics);
    })
    .await;
    for practice in ["p1", "p2"] {
        connect_all(&server, practice, &["manager"]).await;
    }
    let manager = server.owner("p1", "manager").await;
    let other = server.owner("p2", "manager").await;
    create_large(&manager, 20).await;
    create(&other, company("ACME", "Acme Limited")).await;
    let page = ListClientsRequest { page_size: 1_000, ..ListClientsRequest::default() };
    let size = manager.clients().list_clients(page.clone()).await.unwrap().into_inner();
    let size = u64::try_from(prost::Message::encoded_len(&size)).unwrap();
    assert!(size > MIB / 2, "{size} bytes");

    let mut attacker = Http2::connect(&server.url, 0).await;
    let mut calls = Vec::new();
    for _ in 0..16 {
        calls.push(attacker.call(LIST, ("p1", "manager"), &page).await);
    }
    wait_until("answers wait", async || gauge(metrics, "concord_answer_bytes").await > 1e6).await;
    for _ in 0..20 {
        #[expect(clippy::cast_precision_loss, reason = "bytes")]
        let bound = (4 * MIB) as f64;
        let held = gauge(metrics, "concord_answer_bytes").await;
        assert!(held <= bound, "{held} bytes");
        let request = GetClientRequest { client: "ref:ACME".into() };
        timeout(TIMEOUT, other.clients().get_client(request)).await.unwrap().unwrap();
    }
    // All unread answers have timed out, and their memory is released.
    wait_until("unread answers are dropped", async || {
        gauge(metrics, "concord_answer_bytes").await < 1e6
    })
    .await;
    wait_until("no call waits", async || {
        let get = GetClientRequest { client: "ref:LARGE0".into() };
        manager.clients().get_client(get).await.is_ok()
    })
    .await;
    drop(calls);
    drop(attacker);
    wait_until("nothing is left", async || gauge(metrics, "concord_answer_bytes").await < 1.0)
        .await;
    server.stop().await;
}

async fn unread_snapshot_buffers_one_message(db: TestDb) {
    let metrics = free_address();
    let server = servers::records_with(db.settings(), |config| {
        config.limits.stream_time = Duration::from_secs(4);
        config.metrics_listen = Some(metrics);
    })
    .await;
    connect_all(&server, "p1", &["manager", "books"]).await;
    let manager = server.owner("p1", "manager").await;
    // More than three messages of 1 MiB.
    create_large(&manager, 150).await;
    // A flow-control window for the handshake and a part of the first message.
    let window = 4_096;
    let mut attacker = Http2::connect(&server.url, window).await;
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(attacker.call(SUBSCRIBE, ("p1", "books"), &from_snapshot()).await);
    }
    #[expect(clippy::cast_precision_loss, reason = "bytes")]
    let bound = (10 * (MIB + MIB / 4)) as f64;
    wait_until("messages wait", async || gauge(metrics, "concord_answer_bytes").await > 1e6).await;
    for _ in 0..10 {
        let held = gauge(metrics, "concord_answer_bytes").await;
        assert!(held <= bound, "{held} bytes");
        sleep(Duration::from_millis(50)).await;
    }
    wait_until("unread answers are dropped", async || {
        gauge(metrics, "concord_answer_bytes").await < 1e6
    })
    .await;
    // A caller that resumes reading gets the status of the stream.
    for call in calls {
        let (_, status) = timeout(TIMEOUT, read_to_end(call.answer)).await.unwrap();
        assert_eq!(status, "8", "RESOURCE_EXHAUSTED");
    }
    // A new stream delivers the whole snapshot.
    let books = server.owner("p1", "books").await;
    let mut stream = EventStream::open(&books, from_snapshot()).await;
    assert_eq!(stream.snapshot().await.0.len(), 150);
    server.stop().await;
}

async fn streams_of_one_practice_do_not_exhaust_others(db: TestDb) {
    let server = servers::records(db.settings()).await;
    let mut callers = Vec::new();
    for practice in ["p1", "p2"] {
        callers.push(server.owner(practice, "books").await.connect().await);
    }
    let mut held = Vec::new();
    let refused = loop {
        match EventStream::try_open(&callers[0], from_earliest()).await {
            Ok(stream) => held.push(stream),
            Err(status) => break status,
        }
        assert!(held.len() < 200, "the streams of a practice are limited");
    };
    assert_refused::<()>(Err(refused), Code::ResourceExhausted, "LIMIT_REACHED");
    EventStream::open(&callers[1], from_earliest()).await;
    let all = callers[1].clone().without("x-concord-practice");
    EventStream::open(&all, from_earliest()).await;
    server.stop().await;
}
