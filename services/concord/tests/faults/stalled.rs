//! Stalled subscribers and callers, which do not read: the memory of the service stays bounded,
//! and other callers are not affected.
//!
//! To run with 100,000 records:
//!
//! ```console
//! CONCORD_STALLED_RECORDS=100000 cargo test --release -p concord --test faults stalled
//! ```

#![cfg(target_os = "linux")]

use std::time::Duration;

use concord_core::ids::new_uuid;
use concord_proto::pb::{
    imports::RecordStatus,
    internal::ApplyChunkRequest,
    records::{ListClientsRequest, StartFrom, SubscribeRequest},
};
use concord_testing::{TestDb, storage_tests};
use prost::Message as _;
use tokio::{sync::watch, task::JoinHandle};
use tonic::transport::Endpoint;

use crate::{
    memory::{peak, reset_peak},
    replica::Replica,
};
use concord_testing::e2e::{
    caller::Caller,
    chunk,
    failure::retry_until_accepted,
    feed::EventStream,
    http2::Http2,
    records::create_large,
    rng::{SeededRng, setting},
};

storage_tests! {
    stalled_subscriber_uses_bounded_memory,
    unread_responses_use_bounded_memory,
}

/// The default number of records that are imported while subscribers are stalled;
/// `CONCORD_STALLED_RECORDS` overrides it.
const RECORDS: usize = 15_000;

/// Records of one call of the imports service.
const CHUNK: usize = 1_000;

/// The maximum memory of a stalled subscriber: half of the documented 10 MiB, as a margin for
/// noise.
const BUDGET_BYTES: i64 = 5 * 1_024 * 1_024;

/// The number of requested and unread pages of 3 MiB, 720 MiB in total.
const PAGES: usize = 240;

/// The maximum memory of these pages: the share of one product, 64 MiB, and its 56 concurrent
/// calls, each with its page decoded and encoded.
const PAGES_BYTES: i64 = (64 + 56 * 2 * 3) * 1_024 * 1_024;

/// The number of stalled subscribers: several, so that their memory exceeds the noise.
const STALLED: i64 = 5;

/// The initial flow control window of HTTP/2.
const WINDOW_BYTES: u32 = 65_535;

async fn stalled_subscriber_uses_bounded_memory(db: TestDb) {
    let replica = Replica::start(db.url(), &mut SeededRng::from_env());
    for product in ["manager", "books"] {
        replica.owner("p1", product).connect().await;
    }
    let records = setting("CONCORD_STALLED_RECORDS", RECORDS);
    let (position, subscriber) = subscribe(&replica).await;
    let mut total = 0;
    // Warms up caches and the allocator.
    peak_of_an_import(&replica, records / 4, &mut total, &position).await;
    let before = peak_of_an_import(&replica, records, &mut total, &position).await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(EventStream::open(&unread(&replica), from_now()).await);
    }
    let growth = peak_of_an_import(&replica, records, &mut total, &position).await - before;
    eprintln!("{before} bytes without them, {growth} more with {STALLED} streams");
    assert!(growth < STALLED * BUDGET_BYTES, "{STALLED} streams cost {growth} bytes");

    for mut stream in stalled {
        let before = stream.last;
        while stream.last < total {
            stream.events().await;
        }
        assert_eq!(stream.last - before, i64::try_from(records).unwrap(), "no event is missing");
    }
    subscriber.abort();
}

async fn unread_responses_use_bounded_memory(db: TestDb) {
    let replica = Replica::start(db.url(), &mut SeededRng::from_env());
    let manager = replica.owner("p1", "manager").connect().await;
    let other = replica.owner("p2", "manager").connect().await;
    create_large(&manager, 150).await;
    let page = ListClientsRequest { page_size: 1_000, ..ListClientsRequest::default() };
    for _ in 0..5 {
        let read = manager.clients().list_clients(page.clone()).await.unwrap().into_inner();
        assert!(read.encoded_len() > 2 * 1_024 * 1_024, "{}", read.encoded_len());
    }
    reset_peak(&replica);
    let before = peak(&replica);
    let mut attacker = Http2::connect(&replica.url(), 0).await;
    let mut calls = Vec::new();
    for _ in 0..PAGES {
        let list = "concord.records.v1.ClientService/ListClients";
        calls.push(attacker.call(list, ("p1", "manager"), &page).await);
        if calls.len() % 20 == 0 {
            // Calls of another practice succeed meanwhile.
            let list = || async { other.clients().list_clients(page.clone()).await };
            retry_until_accepted(list).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let growth = peak(&replica) - before;
    eprintln!("{before} bytes without them, {growth} more with {PAGES} pages unread");
    assert!(growth < PAGES_BYTES, "{growth} bytes");
    drop((calls, attacker));
}

/// The peak memory of the replica during an import, until the reading subscriber has received
/// all events.
async fn peak_of_an_import(
    replica: &Replica,
    records: usize,
    total: &mut i64,
    position: &watch::Receiver<i64>,
) -> i64 {
    reset_peak(replica);
    import(replica, records).await;
    *total += i64::try_from(records).unwrap();
    let all = *total;
    let received = position.clone().wait_for(|position| *position == all).await.map(drop);
    received.expect("the reading subscriber receives all events");
    peak(replica)
}

/// A subscriber that reads continuously, and its current position.
async fn subscribe(replica: &Replica) -> (watch::Receiver<i64>, JoinHandle<()>) {
    let mut stream = EventStream::open(&replica.owner("p1", "books"), from_now()).await;
    let (sender, position) = watch::channel(0);
    let subscriber = tokio::spawn(async move {
        loop {
            stream.message().await.unwrap();
            sender.send_replace(stream.last);
        }
    });
    (position, subscriber)
}

fn from_now() -> SubscribeRequest {
    SubscribeRequest { start_from: StartFrom::Now.into(), ..SubscribeRequest::default() }
}

/// A caller with a separate connection, which buffers at most the initial HTTP/2 window.
fn unread(replica: &Replica) -> Caller {
    let channel = Endpoint::from_shared(replica.url())
        .unwrap()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect_lazy();
    Caller::owner(channel, "p1", "books")
}

/// Imports a number of new clients, by the calls of the imports service.
async fn import(replica: &Replica, records: usize) {
    let import = format!("imp_{}", new_uuid().as_simple());
    let service = replica.owner("p1", "manager").for_import(&import);
    for first in (0..records).step_by(CHUNK) {
        let rows = first..records.min(first + CHUNK);
        let client = |id: &str| chunk::client(id, id, "Acme Limited");
        let records = rows.map(|_| client(&new_uuid().to_string())).collect();
        let request = ApplyChunkRequest { records, ..ApplyChunkRequest::default() };
        let outcomes = service.ingest().apply_chunk(request).await.unwrap().into_inner().outcomes;
        assert!(outcomes.iter().all(|outcome| outcome.status() == RecordStatus::Imported));
    }
}
