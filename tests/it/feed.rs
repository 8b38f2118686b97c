//! The change feed: dense, complete, in order, resumable.

use std::time::Duration;

use prost::Message as _;
use shared::{
    pb::records::{
        Client, ClientType, CreateClientRequest, EchoMode, NewName, StartFrom, SubscribeRequest,
        SubscribeResponse, subscribe_response::Message,
    },
    testing::{TestDb, storage_tests},
    wire::Event,
};
use tonic::{Code, Streaming};
use tonic_types::StatusExt as _;

use crate::support::{
    caller::{Caller, request_id},
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

async fn server_with(db: &TestDb, products: &[&str]) -> servers::Running {
    let server = servers::records(db.settings()).await;
    for product in products {
        Caller::owner(server.channel().await, "p1", product).connect().await;
    }
    server
}

async fn create(caller: &Caller, reference: &str) -> String {
    let request = CreateClientRequest {
        r#type: ClientType::PrivateLimitedCompany.into(),
        client_reference: reference.into(),
        registered_name: Some(NewName { name: "Acme Limited".into(), active_from: String::new() }),
        request_id: request_id(),
        ..CreateClientRequest::default()
    };
    let created = caller.clients().create_client(request).await.unwrap().into_inner();
    created.change_ids.into_iter().next().unwrap()
}

fn from_earliest() -> SubscribeRequest {
    SubscribeRequest { start_from: StartFrom::Earliest.into(), ..SubscribeRequest::default() }
}

async fn subscribe(caller: &Caller, request: SubscribeRequest) -> Streaming<SubscribeResponse> {
    caller.changes().subscribe(request).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<SubscribeResponse>) -> Message {
    let message = tokio::time::timeout(Duration::from_secs(20), stream.message()).await;
    message.expect("a message in time").unwrap().expect("the stream goes on").message.unwrap()
}

/// The next `count` events, checked to be a chain, and the last cursor.
async fn events(stream: &mut Streaming<SubscribeResponse>, count: usize) -> (Vec<Event>, String) {
    let (mut events, mut cursor): (Vec<Event>, _) = (Vec::new(), String::new());
    let mut previous = None;
    while events.len() < count {
        match next(stream).await {
            Message::Handshake(handshake) => previous = Some(handshake.position),
            Message::Events(batch) => {
                for event in batch.events {
                    assert_eq!(previous.replace(event.position), Some(event.previous_position));
                    events.push(event);
                }
                cursor = batch.cursor;
            }
            Message::Heartbeat(_) => {}
            Message::Closing(_) => panic!("the stream closed"),
        }
    }
    (events, cursor)
}

fn positions(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.position).collect()
}

async fn every_change_is_heard_once_and_in_order(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    let mut live = subscribe(&books, from_earliest()).await;
    let mut changes = Vec::new();
    for n in 0..20 {
        changes.push(create(&manager, &format!("R{n}")).await);
    }
    let (heard, _) = events(&mut live, 20).await;
    assert_eq!(heard.iter().map(|event| event.change_id.clone()).collect::<Vec<_>>(), changes);
    assert_eq!(positions(&heard), (1..=20).collect::<Vec<_>>());
    let (later, _) = events(&mut subscribe(&books, from_earliest()).await, 20).await;
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
    let (_, cursor) = events(&mut subscribe(&books, from_earliest()).await, 5).await;
    create(&manager, "R5").await;
    let request = SubscribeRequest { cursor, ..SubscribeRequest::default() };
    let (heard, _) = events(&mut subscribe(&books, request).await, 1).await;
    assert_eq!((heard[0].position, heard[0].previous_position), (6, 5));
    let now = SubscribeRequest { start_from: StartFrom::Now.into(), ..SubscribeRequest::default() };
    let mut live = subscribe(&books, now).await;
    assert!(matches!(next(&mut live).await, Message::Handshake(h) if h.position == 6));
    create(&manager, "R6").await;
    let Message::Events(batch) = next(&mut live).await else { panic!("no events") };
    assert_eq!(positions(&batch.events), [7]);
}

async fn a_product_does_not_hear_itself_unless_it_asks(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    create(&manager, "R0").await;
    create(&books, "R1").await;
    let mode = |mode: EchoMode| SubscribeRequest { echo_mode: mode.into(), ..from_earliest() };
    let (suppressed, _) = events(&mut subscribe(&manager, from_earliest()).await, 1).await;
    assert_eq!(positions(&suppressed), [2]);
    assert_eq!(suppressed[0].previous_position, 0);
    let (marked, _) = events(&mut subscribe(&manager, mode(EchoMode::Mark)).await, 2).await;
    assert!(marked[0].own && marked[0].client.is_none());
    assert!(!marked[1].own && marked[1].client.is_some());
    let (included, _) = events(&mut subscribe(&manager, mode(EchoMode::Include)).await, 2).await;
    assert!(included[0].own && included[0].linked && included[0].client.is_some());
    let other_account = manager.with("x-concord-account", "second");
    let (heard, _) = events(&mut subscribe(&other_account, from_earliest()).await, 2).await;
    assert!(!heard[0].own && heard[0].linked);
}

async fn a_practice_hears_itself_alone_and_a_backend_hears_all(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    for product in ["manager", "books"] {
        Caller::owner(server.channel().await, "p2", product).connect().await;
    }
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let other = Caller::owner(server.channel().await, "p2", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    let mut all = subscribe(&books.clone().without("x-concord-practice"), from_earliest()).await;
    for n in 0..3 {
        create(&manager, &format!("R{n}")).await;
        create(&other, &format!("R{n}")).await;
    }
    let (heard, _) = events(&mut all, 6).await;
    assert_eq!(positions(&heard), [1, 2, 3, 4, 5, 6]);
    let (own, _) = events(&mut subscribe(&books, from_earliest()).await, 3).await;
    assert!(own.iter().all(|event| event.practice_id == "p1"));
}

async fn a_cursor_that_cannot_be_gone_on_from_is_refused(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    create(&manager, "R0").await;
    let (_, cursor) = events(&mut subscribe(&books, from_earliest()).await, 1).await;
    // The feed of each product is sequenced by itself.
    let include = EchoMode::Include.into();
    let all = SubscribeRequest { echo_mode: include, ..from_earliest() };
    events(&mut subscribe(&manager, all).await, 1).await;
    let of_books = SubscribeRequest { cursor, ..SubscribeRequest::default() };
    let made_up = SubscribeRequest { cursor: "made-up".into(), ..SubscribeRequest::default() };
    for (caller, request) in [(&manager, of_books), (&books, made_up)] {
        let refused = caller.changes().subscribe(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange);
        let details = refused.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.reason, "CURSOR_FOREIGN");
        let cursor = info.metadata["latest_cursor"].clone();
        let request = SubscribeRequest { cursor, ..SubscribeRequest::default() };
        let mut stream = subscribe(caller, request).await;
        assert!(matches!(next(&mut stream).await, Message::Handshake(h) if h.position == 1));
    }
}

async fn a_stream_ends_with_a_cursor_when_the_server_stops(db: TestDb) {
    let server = server_with(&db, &["manager", "books"]).await;
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let books = Caller::owner(server.channel().await, "p1", "books");
    create(&manager, "R0").await;
    let mut stream = subscribe(&books, from_earliest()).await;
    let (_, cursor) = events(&mut stream, 1).await;
    let stopping = tokio::spawn(server.stop());
    let Message::Closing(closing) = next(&mut stream).await else { panic!("not closing") };
    assert_eq!(closing.cursor, cursor);
    assert!(stream.message().await.unwrap().is_none());
    stopping.await.unwrap();
}

async fn writers_on_all_replicas_make_one_dense_feed(db: TestDb) {
    let server = server_with(&db, &["manager", "books", "ap"]).await;
    let mut replicas = vec![server];
    while replicas.len() < servers::replicas(&db) {
        replicas.push(servers::records(db.settings()).await);
    }
    let books = Caller::owner(replicas.last().unwrap().channel().await, "p1", "books");
    let mut live = subscribe(&books, from_earliest()).await;
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
    let (heard, _) = events(&mut live, 80).await;
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
