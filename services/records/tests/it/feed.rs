//! The change feed: dense positions, complete, totally ordered, resumable.

use concord_proto::pb::records::{
    Client, EchoMode, StartFrom, SubscribeRequest, subscribe_response::Message,
};
use concord_testing::{TestDb, storage_tests};
use prost::Message as _;
use tonic::Code;

use concord_testing::e2e::{
    caller::Caller,
    feed::{
        EventStream, after, connect_all, from_earliest, positions, server_with, two_products,
        with_own,
    },
    records::{assert_refused, company, error_metadata},
    servers,
};

storage_tests! {
    every_change_is_delivered_once_in_order,
    stream_resumes_after_cursor,
    own_changes_are_suppressed_unless_requested,
    practice_feed_is_isolated_and_product_feed_is_complete,
    foreign_cursor_is_refused_with_latest_cursor,
    server_shutdown_closes_stream_with_cursor,
    concurrent_writers_on_replicas_build_dense_feed,
}

/// Creates a client. Returns the id of its change.
async fn create(caller: &Caller, reference: &str) -> String {
    let request = company(reference, "Acme Limited");
    let created = caller.clients().create_client(request).await.unwrap().into_inner();
    created.change_ids.into_iter().next().unwrap()
}

async fn every_change_is_delivered_once_in_order(db: TestDb) {
    let (_server, manager, books) = two_products(&db).await;
    let mut live = EventStream::open(&books, from_earliest()).await;
    let mut changes = Vec::new();
    for n in 0..20 {
        changes.push(create(&manager, &format!("R{n}")).await);
    }
    let events = live.take(20).await;
    assert_eq!(events.iter().map(|event| event.change_id.clone()).collect::<Vec<_>>(), changes);
    assert_eq!(positions(&events), (1..=20).collect::<Vec<_>>());
    let later = EventStream::open(&books, from_earliest()).await.take(20).await;
    assert_eq!(later, events);
    let client = Client::decode(events[3].client.clone().unwrap()).unwrap();
    assert_eq!((client.client_reference.as_str(), client.version), ("R3", 1));
    let origin = events[3].origin.clone().unwrap();
    assert_eq!((origin.product.as_str(), origin.user.as_str()), ("manager", "olivia"));
    assert!(!events[3].linked, "books has no link to it");
}

async fn stream_resumes_after_cursor(db: TestDb) {
    let (_server, manager, books) = two_products(&db).await;
    for n in 0..5 {
        create(&manager, &format!("R{n}")).await;
    }
    let mut first = EventStream::open(&books, from_earliest()).await;
    first.take(5).await;
    create(&manager, "R5").await;
    let events = EventStream::open(&books, after(&first.cursor)).await.take(1).await;
    assert_eq!((events[0].position, events[0].previous_position), (6, 5));
    let now = SubscribeRequest { start_from: StartFrom::Now.into(), ..SubscribeRequest::default() };
    let mut live = EventStream::open(&books, now).await;
    assert_eq!(live.handshake.position, 6);
    create(&manager, "R6").await;
    assert_eq!(positions(&live.take(1).await), [7]);
}

async fn own_changes_are_suppressed_unless_requested(db: TestDb) {
    let (_server, manager, books) = two_products(&db).await;
    create(&manager, "R0").await;
    create(&books, "R1").await;
    let mode = |mode: EchoMode| SubscribeRequest { echo_mode: mode.into(), ..from_earliest() };
    let suppressed = EventStream::open(&manager, from_earliest()).await.take(1).await;
    assert_eq!(positions(&suppressed), [2]);
    assert_eq!(suppressed[0].previous_position, 0);
    let marked = EventStream::open(&manager, mode(EchoMode::Mark)).await.take(2).await;
    assert!(marked[0].own && marked[0].client.is_none());
    assert!(!marked[1].own && marked[1].client.is_some());
    let included = EventStream::open(&manager, mode(EchoMode::Include)).await.take(2).await;
    assert!(included[0].own && included[0].linked && included[0].client.is_some());
    let other_account = manager.with("x-concord-account", "second");
    let events = EventStream::open(&other_account, from_earliest()).await.take(2).await;
    assert!(!events[0].own && events[0].linked);
}

async fn practice_feed_is_isolated_and_product_feed_is_complete(db: TestDb) {
    let (server, manager, books) = two_products(&db).await;
    connect_all(&server, "p2", &["manager", "books"]).await;
    let other = server.owner("p2", "manager").await;
    let mut all =
        EventStream::open(&books.clone().without("x-concord-practice"), from_earliest()).await;
    for n in 0..3 {
        create(&manager, &format!("R{n}")).await;
        create(&other, &format!("R{n}")).await;
    }
    let events = all.take(6).await;
    assert_eq!(positions(&events), [1, 2, 3, 4, 5, 6]);
    let own = EventStream::open(&books, from_earliest()).await.take(3).await;
    assert!(own.iter().all(|event| event.practice_id == "p1"));
}

async fn foreign_cursor_is_refused_with_latest_cursor(db: TestDb) {
    let (_server, manager, books) = two_products(&db).await;
    create(&manager, "R0").await;
    let mut of_books = EventStream::open(&books, from_earliest()).await;
    of_books.take(1).await;
    // The feed of each product has its own positions.
    EventStream::open(&manager, with_own(from_earliest())).await.take(1).await;
    for (caller, cursor) in [(&manager, of_books.cursor.as_str()), (&books, "made-up")] {
        let refused = EventStream::try_open(caller, after(cursor)).await;
        let refused = assert_refused(refused, Code::OutOfRange, "CURSOR_FOREIGN");
        let latest = error_metadata(&refused, "latest_cursor");
        assert_eq!(EventStream::open(caller, after(&latest)).await.handshake.position, 1);
    }
}

async fn server_shutdown_closes_stream_with_cursor(db: TestDb) {
    let (server, manager, books) = two_products(&db).await;
    create(&manager, "R0").await;
    let mut stream = EventStream::open(&books, from_earliest()).await;
    stream.take(1).await;
    let cursor = stream.cursor.clone();
    let stopping = tokio::spawn(server.stop());
    let last = stream.message().await.unwrap();
    assert!(matches!(last, Some(Message::Closing(closing)) if closing.cursor == cursor));
    assert_eq!(stream.message().await.unwrap(), None);
    stopping.await.unwrap();
}

async fn concurrent_writers_on_replicas_build_dense_feed(db: TestDb) {
    let mut replicas = vec![server_with(&db, &["manager", "books", "ap"]).await];
    servers::add_replicas(&db, &mut replicas).await;
    let books = replicas.last().unwrap().owner("p1", "books").await;
    let mut live = EventStream::open(&books, from_earliest()).await;
    let mut writers = Vec::new();
    for n in 0..8 {
        let replica = &replicas[n % replicas.len()];
        let manager = replica.owner("p1", "manager").await;
        writers.push(tokio::spawn(async move {
            for m in 0..10 {
                create(&manager, &format!("R{n}-{m}")).await;
            }
        }));
    }
    let events = live.take(80).await;
    assert_eq!(positions(&events), (1..=80).collect::<Vec<_>>());
    let mut changes: Vec<_> = events.iter().map(|event| event.change_id.clone()).collect();
    changes.sort();
    changes.dedup();
    assert_eq!(changes.len(), 80);
    for writer in writers {
        writer.await.unwrap();
    }
    servers::stop_all(replicas).await;
}
