//! A subscriber that does not read costs the service bounded memory, and the
//! other subscribers nothing.
//!
//! With 100,000 records instead of a part of them:
//!
//! ```console
//! CONCORD_STALLED_RECORDS=100000 cargo test --release -p concord --test faults stalled
//! ```

#![cfg(target_os = "linux")]

use std::time::Duration;

use prost::Message as _;
use shared::{
    ids::new_uuid,
    pb::{
        imports::{ImportClient, ImportRecord, RecordStatus, import_record::Record},
        internal::ApplyChunkRequest,
        records::{ListClientsRequest, StartFrom, SubscribeRequest},
    },
    testing::{TestDb, storage_tests},
    wire::ApplyRecord,
};
use tokio::{sync::watch, task::JoinHandle};
use tonic::transport::Endpoint;

use crate::{
    memory::{forget_peak, peak},
    replica::Replica,
    support::{
        caller::Caller,
        dice::{Dice, setting},
        feed::Listening,
        http2::Http2,
        records::create_large,
    },
};

storage_tests! {
    a_subscriber_that_does_not_read_costs_bounded_memory,
    answers_that_nobody_reads_cost_bounded_memory,
}

/// Records that are imported while subscribers do not read, unless
/// `CONCORD_STALLED_RECORDS` says otherwise.
const RECORDS: usize = 15_000;

/// Records of one call of the imports service.
const CHUNK: usize = 1_000;

/// What a subscriber that does not read may cost: half of the 10 MiB that are
/// promised, which leaves room for noise.
const BUDGET_BYTES: i64 = 5 * 1_024 * 1_024;

/// Pages of 3 MiB that are asked for and not read; all of them would be 720 MiB.
const PAGES: usize = 240;

/// What they may cost: the share of one product, 64 MiB, and the 56 calls that it may
/// have at work, each with its page as a message and encoded.
const PAGES_BYTES: i64 = (64 + 56 * 2 * 3) * 1_024 * 1_024;

/// Subscribers that do not read: several, so that what they cost stands out.
const STALLED: i64 = 5;

/// The flow-control window that HTTP/2 begins with.
const WINDOW_BYTES: u32 = 65_535;

async fn a_subscriber_that_does_not_read_costs_bounded_memory(db: TestDb) {
    let replica = Replica::start(db.url(), &mut Dice::of_this_run());
    for product in ["manager", "books"] {
        replica.owner("p1", product).connect().await;
    }
    let records = setting("CONCORD_STALLED_RECORDS", RECORDS);
    let (heard, listener) = listen(&replica).await;
    let mut total = 0;
    // Until caches are full, and the allocator holds what it needs.
    peak_of_an_import(&replica, records / 4, &mut total, &heard).await;
    let before = peak_of_an_import(&replica, records, &mut total, &heard).await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(Listening::open(&unread(&replica), from_now()).await);
    }
    let growth = peak_of_an_import(&replica, records, &mut total, &heard).await - before;
    eprintln!("{before} bytes without them, {growth} more with {STALLED} streams");
    assert!(growth < STALLED * BUDGET_BYTES, "{STALLED} streams cost {growth} bytes");

    for mut stream in stalled {
        let before = stream.last;
        while stream.last < total {
            stream.events().await;
        }
        assert_eq!(stream.last - before, i64::try_from(records).unwrap(), "it missed nothing");
    }
    listener.abort();
}

async fn answers_that_nobody_reads_cost_bounded_memory(db: TestDb) {
    let replica = Replica::start(db.url(), &mut Dice::of_this_run());
    let manager = replica.owner("p1", "manager").connect().await;
    let other = replica.owner("p2", "manager").connect().await;
    create_large(&manager, 150).await;
    let page = ListClientsRequest { page_size: 1_000, ..ListClientsRequest::default() };
    for _ in 0..5 {
        let read = manager.clients().list_clients(page.clone()).await.unwrap().into_inner();
        assert!(read.encoded_len() > 2 * 1_024 * 1_024, "{}", read.encoded_len());
    }
    forget_peak(&replica);
    let before = peak(&replica);
    let mut attacker = Http2::connect(&replica.url(), 0).await;
    let mut calls = Vec::new();
    for _ in 0..PAGES {
        let list = "concord.records.v1.ClientService/ListClients";
        calls.push(attacker.call(list, ("p1", "manager"), &page).await);
        if calls.len() % 20 == 0 {
            // Another practice is answered meanwhile.
            other.clients().list_clients(page.clone()).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let growth = peak(&replica) - before;
    eprintln!("{before} bytes without them, {growth} more with {PAGES} pages unread");
    assert!(growth < PAGES_BYTES, "{growth} bytes");
    drop((calls, attacker));
}

/// The most memory that the replica holds while so many records are imported,
/// until the subscriber that reads has heard of all of them.
async fn peak_of_an_import(
    replica: &Replica,
    records: usize,
    total: &mut i64,
    heard: &watch::Receiver<i64>,
) -> i64 {
    forget_peak(replica);
    import(replica, records).await;
    *total += i64::try_from(records).unwrap();
    let all = *total;
    let heard = heard.clone().wait_for(|heard| *heard == all).await.map(drop);
    heard.expect("the subscriber that reads hears everything");
    peak(replica)
}

/// A subscriber that reads all the time, and the position it has come to.
async fn listen(replica: &Replica) -> (watch::Receiver<i64>, JoinHandle<()>) {
    let mut stream = Listening::open(&replica.owner("p1", "books"), from_now()).await;
    let (heard, position) = watch::channel(0);
    let listener = tokio::spawn(async move {
        loop {
            stream.message().await.unwrap();
            heard.send_replace(stream.last);
        }
    });
    (position, listener)
}

fn from_now() -> SubscribeRequest {
    SubscribeRequest { start_from: StartFrom::Now.into(), ..SubscribeRequest::default() }
}

/// A subscriber with a connection of its own, which takes no more than HTTP/2
/// begins with before it is read.
fn unread(replica: &Replica) -> Caller {
    let channel = Endpoint::from_shared(replica.url())
        .unwrap()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect_lazy();
    Caller::owner(channel, "p1", "books")
}

/// Imports so many new clients, as the imports service does it.
async fn import(replica: &Replica, records: usize) {
    let import = format!("imp_{}", new_uuid().as_simple());
    let service = replica
        .owner("p1", "manager")
        .with("x-concord-roles", "service")
        .with("x-concord-import", &import);
    for first in (0..records).step_by(CHUNK) {
        let rows = first..records.min(first + CHUNK);
        let records = rows.map(|_| client()).collect();
        let request = ApplyChunkRequest { records, ..ApplyChunkRequest::default() };
        let outcomes = service.ingest().apply_chunk(request).await.unwrap().into_inner().outcomes;
        assert!(outcomes.iter().all(|outcome| outcome.status() == RecordStatus::Imported));
    }
}

fn client() -> ApplyRecord {
    let id = new_uuid().to_string();
    let client = ImportClient {
        source_id: id.clone(),
        client_reference: id,
        client_type: "PRIVATE_LIMITED_COMPANY".into(),
        registered_name: "Acme Limited".into(),
        ..ImportClient::default()
    };
    let record = ImportRecord { record: Some(Record::Client(client)), ..Default::default() }
        .encode_to_vec()
        .into();
    ApplyRecord { record, ..ApplyRecord::default() }
}
