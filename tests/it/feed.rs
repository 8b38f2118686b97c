//! The change feed: dense, complete, in order, resumable.

use prost::Message as _;
use shared::{
    pb::records::{Client, EchoMode, StartFrom, SubscribeRequest, subscribe_response::Message},
    testing::{TestDb, storage_tests},
};
use tonic::Code;

use crate::support::{
    caller::Caller,
    feed::{Listening, after, connect_all, from_earliest, positions, server_with},
    records::{company, fact, reason},
    servers,
};

storage_tests! {
    every_change_is_heard_once_and_in_order,
    a_stream_goes_on_after_its_cursor,
    a_product_does_not_hear_itself_unless_it_asks,
    a_practice_hears_itself_alone_and_a_backend_hears_all,
    a_cursor_that_cannot_be_gone_on_from_is_refused,
    a_stream_ends_with_a_cursor_when_the_server_stops,
    writers_on_all_replicas_make_one_dense_feed,
}

/// A client of its own; the id of the change that created it.
async fn create(caller: &Caller, reference: &str) -> String {
    let request = company(reference, "Acme Limited");
    let created = caller.clients().create_client(request).await.unwrap().into_inner();
    created.change_ids.into_iter().next().unwrap()
}

async fn every_change_is_heard_once_and_in_order(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    let mut live = Listening::open(&books, from_earliest()).await;
    let mut changes = Vec::new();
    for n in 0..20 {
        changes.push(create(&manager, &format!("R{n}")).await);
    }
    let heard = live.take(20).await;
    assert_eq!(heard.iter().map(|event| event.change_id.clone()).collect::<Vec<_>>(), changes);
    assert_eq!(positions(&heard), (1..=20).collect::<Vec<_>>());
    let later = Listening::open(&books, from_earliest()).await.take(20).await;
    assert_eq!(later, heard);
    let client = Client::decode(heard[3].client.clone().unwrap()).unwrap();
    assert_eq!((client.client_reference.as_str(), client.version), ("R3", 1));
    let origin = heard[3].origin.clone().unwrap();
    assert_eq!((origin.product.as_str(), origin.user.as_str()), ("manager", "olivia"));
    assert!(!heard[3].linked, "books has no link to it");
}

async fn a_stream_goes_on_after_its_cursor(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    for n in 0..5 {
        create(&manager, &format!("R{n}")).await;
    }
    let mut first = Listening::open(&books, from_earliest()).await;
    first.take(5).await;
    create(&manager, "R5").await;
    let heard = Listening::open(&books, after(&first.cursor)).await.take(1).await;
    assert_eq!((heard[0].position, heard[0].previous_position), (6, 5));
    let now = SubscribeRequest { start_from: StartFrom::Now.into(), ..SubscribeRequest::default() };
    let mut live = Listening::open(&books, now).await;
    assert_eq!(live.handshake.position, 6);
    create(&manager, "R6").await;
    assert_eq!(positions(&live.take(1).await), [7]);
}

async fn a_product_does_not_hear_itself_unless_it_asks(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    create(&manager, "R0").await;
    create(&books, "R1").await;
    let mode = |mode: EchoMode| SubscribeRequest { echo_mode: mode.into(), ..from_earliest() };
    let suppressed = Listening::open(&manager, from_earliest()).await.take(1).await;
    assert_eq!(positions(&suppressed), [2]);
    assert_eq!(suppressed[0].previous_position, 0);
    let marked = Listening::open(&manager, mode(EchoMode::Mark)).await.take(2).await;
    assert!(marked[0].own && marked[0].client.is_none());
    assert!(!marked[1].own && marked[1].client.is_some());
    let included = Listening::open(&manager, mode(EchoMode::Include)).await.take(2).await;
    assert!(included[0].own && included[0].linked && included[0].client.is_some());
    let other_account = manager.with("x-concord-account", "second");
    let heard = Listening::open(&other_account, from_earliest()).await.take(2).await;
    assert!(!heard[0].own && heard[0].linked);
}

async fn a_practice_hears_itself_alone_and_a_backend_hears_all(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    connect_all(&server, "p2", &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let other = Caller::owner(server.channel().await, "p2", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    let mut all =
        Listening::open(&books.clone().without("x-concord-practice"), from_earliest()).await;
    for n in 0..3 {
        create(&manager, &format!("R{n}")).await;
        create(&other, &format!("R{n}")).await;
    }
    let heard = all.take(6).await;
    assert_eq!(positions(&heard), [1, 2, 3, 4, 5, 6]);
    let own = Listening::open(&books, from_earliest()).await.take(3).await;
    assert!(own.iter().all(|event| event.practice_id == "p1"));
}

async fn a_cursor_that_cannot_be_gone_on_from_is_refused(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    create(&manager, "R0").await;
    let mut of_books = Listening::open(&books, from_earliest()).await;
    of_books.take(1).await;
    // The feed of each product is sequenced by itself.
    let include = EchoMode::Include.into();
    let all = SubscribeRequest { echo_mode: include, ..from_earliest() };
    Listening::open(&manager, all).await.take(1).await;
    for (caller, cursor) in [(&manager, of_books.cursor.as_str()), (&books, "made-up")] {
        let refused = Listening::try_open(caller, after(cursor)).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange);
        assert_eq!(reason(&refused), "CURSOR_FOREIGN");
        let latest = fact(&refused, "latest_cursor");
        assert_eq!(Listening::open(caller, after(&latest)).await.handshake.position, 1);
    }
}

async fn a_stream_ends_with_a_cursor_when_the_server_stops(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    create(&manager, "R0").await;
    let mut stream = Listening::open(&books, from_earliest()).await;
    stream.take(1).await;
    let cursor = stream.cursor.clone();
    let stopping = tokio::spawn(server.stop());
    let last = stream.message().await.unwrap();
    assert!(matches!(last, Some(Message::Closing(closing)) if closing.cursor == cursor));
    assert_eq!(stream.message().await.unwrap(), None);
    stopping.await.unwrap();
}

async fn writers_on_all_replicas_make_one_dense_feed(db: TestDb) {
    let server = server_with(&db, &["manager", "books", "ap"]).await;
    let mut replicas = vec![server];
    while replicas.len() < servers::replicas(&db) {
        replicas.push(servers::records(db.settings()).await);
    }
    let books = Caller::owner(replicas.last().unwrap().channel().await, "p1", "books");
    let mut live = Listening::open(&books, from_earliest()).await;
    let mut writers = Vec::new();
    for n in 0..8 {
        let replica = &replicas[n % replicas.len()];
        let manager = Caller::owner(replica.channel().await, "p1", "manager");
        writers.push(tokio::spawn(async move {
            for m in 0..10 {
                create(&manager, &format!("R{n}-{m}")).await;
            }
        }));
    }
    let heard = live.take(80).await;
    assert_eq!(positions(&heard), (1..=80).collect::<Vec<_>>());
    let mut changes: Vec<_> = heard.iter().map(|event| event.change_id.clone()).collect();
    changes.sort();
    changes.dedup();
    assert_eq!(changes.len(), 80);
    for writer in writers {
        writer.await.unwrap();
    }
    for replica in replicas {
        replica.stop().await;
    }
}
