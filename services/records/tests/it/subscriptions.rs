//! Named subscriptions: acknowledged position, window of unacknowledged events, takeover.

use std::time::Duration;

use concord_proto::pb::records::{
    DeleteSubscriptionRequest, GetSubscriptionRequest, ListSubscriptionsRequest, RecordKind,
    StartFrom, SubscribeRequest, SubscriptionState, subscribe_response::Message,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::{Caller, request_id},
    feed::{
        EventStream, acknowledge, after, connect_all, create_all, from_earliest, named, owners,
        positions, references, server_with, subscription, two_products, with_own,
    },
    records::{assert_refused, reason, violations},
    servers,
};

storage_tests! {
    subscription_resumes_after_acknowledged_position,
    unacknowledged_events_are_limited_by_window,
    newer_stream_takes_over_subscription,
    acknowledgement_covers_later_suppressed_changes,
    acknowledging_undelivered_cursor_is_refused,
    cursor_in_subscribe_counts_as_acknowledged,
    subscription_restarts_on_request,
    invalid_requests_are_refused_without_side_effects,
    subscription_is_scoped_to_product_account_and_practice,
    lag_of_every_subscription_is_listed,
    support_role_cannot_take_over_subscription,
    old_connection_closes_with_cursor,
    cursor_is_visible_to_own_product_and_scope_only,
}

struct Fixture {
    _server: servers::Running,
    manager: Caller,
    books: Caller,
}

async fn fixture(db: &TestDb, changes: usize) -> Fixture {
    let (server, manager, books) = two_products(db).await;
    create_all(&manager, references(changes)).await;
    Fixture { _server: server, manager, books }
}

async fn subscription_resumes_after_acknowledged_position(db: TestDb) {
    let Fixture { manager, books, .. } = fixture(&db, 3).await;
    let mut first = EventStream::open(&books, named("ledger")).await;
    assert_eq!((first.handshake.subscription.as_str(), first.handshake.position), ("ledger", 0));
    first.take(3).await;
    let two = first.cursor.clone();
    drop(first);
    let again = EventStream::open(&books, named("ledger")).await.take(3).await;
    assert_eq!(positions(&again), [1, 2, 3], "nothing was acknowledged");
    assert_eq!(acknowledge(&books, "ledger", &two).await.unwrap(), 3);
    create_all(&manager, ["R9".to_owned()]).await;
    let mut third = EventStream::open(&books, named("ledger")).await;
    assert_eq!(positions(&third.take(1).await), [4]);
    assert_eq!(
        acknowledge(&books, "ledger", &two).await.unwrap(),
        3,
        "an older cursor is no error"
    );
    assert_eq!(third.acknowledge(&books).await, 4);
    assert_eq!(
        acknowledge(&books, "ledger", &two).await.unwrap(),
        4,
        "the position does not move back"
    );
}

async fn unacknowledged_events_are_limited_by_window(db: TestDb) {
    let Fixture { books, .. } = fixture(&db, 7).await;
    let request = SubscribeRequest { max_unacknowledged: 3, ..named("ledger") };
    let mut stream = EventStream::open(&books, request).await;
    assert_eq!(positions(&stream.take(3).await), [1, 2, 3]);
    let heartbeat = stream.heartbeat().await;
    assert!(heartbeat.waiting_for_acknowledgement);
    assert_eq!((heartbeat.position, heartbeat.head_position), (3, 7));
    stream.acknowledge(&books).await;
    assert_eq!(positions(&stream.take(3).await), [4, 5, 6]);
    stream.acknowledge(&books).await;
    assert_eq!(positions(&stream.take(1).await), [7]);
}

async fn newer_stream_takes_over_subscription(db: TestDb) {
    let mut replicas = vec![server_with(&db, &["manager", "books"]).await];
    servers::add_replicas(&db, &mut replicas).await;
    let one = replicas[0].owner("p1", "books").await;
    let other = replicas.last().unwrap().owner("p1", "books").await;
    let mut older = EventStream::open(&one, named("ledger")).await;
    let mut other_name = EventStream::open(&one, named("another")).await;
    let mut newer = EventStream::open(&other, named("ledger")).await;
    let ended = older.end().await;
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::Aborted, "SUBSCRIPTION_TAKEN_OVER"));
    let manager = replicas[0].owner("p1", "manager").await;
    create_all(&manager, references(1)).await;
    assert_eq!(newer.take(1).await.len(), 1);
    assert_eq!(other_name.take(1).await.len(), 1, "another subscription is not affected");
    let delete = DeleteSubscriptionRequest { subscription: "ledger".into() };
    one.changes().delete_subscription(delete.clone()).await.unwrap();
    let ended = newer.end().await;
    assert_eq!((ended.code(), reason(&ended).as_str()), (Code::NotFound, "NOT_FOUND"));
    assert_refused(one.changes().delete_subscription(delete).await, Code::NotFound, "NOT_FOUND");
}

async fn acknowledgement_covers_later_suppressed_changes(db: TestDb) {
    let Fixture { books, .. } = fixture(&db, 1).await;
    let mut stream = EventStream::open(&books, named("ledger")).await;
    stream.take(1).await;
    stream.acknowledge(&books).await;
    // Changes of its own product are suppressed.
    create_all(&books, ["OWN1".to_owned(), "OWN2".to_owned()]).await;
    for _ in 0..100 {
        let found = subscription(&books, "ledger").await;
        if found.lag_changes == 0 && found.head_position == 3 {
            assert_eq!((found.acknowledged_position, found.delivered_position), (3, 1));
            assert_eq!((found.lag_seconds, found.expire_time), (0, None));
            assert_eq!(found.state(), SubscriptionState::Active);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the position did not advance over suppressed changes");
}

async fn acknowledging_undelivered_cursor_is_refused(db: TestDb) {
    let Fixture { books, manager, .. } = fixture(&db, 4).await;
    let window = SubscribeRequest { max_unacknowledged: 2, ..named("ledger") };
    let mut stream = EventStream::open(&books, window).await;
    stream.take(2).await;
    // The same changes, delivered to an unnamed stream and to another subscription.
    let mut unnamed = EventStream::open(&books, from_earliest()).await;
    unnamed.take(4).await;
    let mut another = EventStream::open(&books, named("another")).await;
    another.take(4).await;
    for cursor in [&unnamed.cursor, &another.cursor] {
        let refused = acknowledge(&books, "ledger", cursor).await;
        assert_refused(refused, Code::FailedPrecondition, "CURSOR_NOT_DELIVERED");
    }
    // A cursor of another product, an invalid one, and an empty one.
    let mut foreign = EventStream::open(&manager, with_own(from_earliest())).await;
    foreign.take(4).await;
    for cursor in [foreign.cursor.as_str(), "made-up", &"A".repeat(10_000)] {
        let refused = acknowledge(&books, "ledger", cursor).await;
        assert_refused(refused, Code::OutOfRange, "CURSOR_FOREIGN");
    }
    let refused = acknowledge(&books, "ledger", "").await;
    assert_refused(refused, Code::InvalidArgument, "REQUIRED_FIELD_BLANK");
    assert_refused(
        acknowledge(&books, "unknown", &stream.cursor).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    assert_eq!(subscription(&books, "ledger").await.acknowledged_position, 0, "nothing moved");
    assert_eq!(stream.acknowledge(&books).await, 2);
    assert_eq!(positions(&stream.take(2).await), [3, 4], "the stream continues");
}

async fn cursor_in_subscribe_counts_as_acknowledged(db: TestDb) {
    let Fixture { books, .. } = fixture(&db, 4).await;
    let window = SubscribeRequest { max_unacknowledged: 2, ..named("ledger") };
    let mut stream = EventStream::open(&books, window).await;
    stream.take(2).await;
    let cursor = stream.cursor.clone();
    let both = SubscribeRequest { cursor: cursor.clone(), ..named("ledger") };
    let mut resumed = EventStream::open(&books, both.clone()).await;
    assert_eq!(positions(&resumed.take(2).await), [3, 4]);
    assert_eq!(subscription(&books, "ledger").await.acknowledged_position, 2);
    resumed.acknowledge(&books).await;
    let mut back = EventStream::open(&books, both).await;
    assert_eq!(positions(&back.take(2).await), [3, 4], "resumes after the cursor of the caller");
    assert_eq!(
        subscription(&books, "ledger").await.acknowledged_position,
        4,
        "the position does not move back"
    );
}

async fn subscription_restarts_on_request(db: TestDb) {
    let Fixture { manager, books, .. } = fixture(&db, 3).await;
    let mut stream = EventStream::open(&books, named("ledger")).await;
    stream.take(3).await;
    let old = stream.cursor.clone();
    stream.acknowledge(&books).await;
    // Without `restart`: `start_from` applies to new subscriptions only.
    let earliest = SubscribeRequest { start_from: StartFrom::Earliest.into(), ..named("ledger") };
    assert_eq!(EventStream::open(&books, earliest.clone()).await.handshake.position, 3);
    let restart = SubscribeRequest { restart: true, ..earliest };
    let mut stream = EventStream::open(&books, restart).await;
    assert_eq!(stream.handshake.position, 0);
    assert_eq!(positions(&stream.take(3).await), [1, 2, 3]);
    let refused = acknowledge(&books, "ledger", &old).await;
    assert_refused(refused, Code::FailedPrecondition, "CURSOR_NOT_DELIVERED");
    create_all(&manager, ["R9".to_owned()]).await;
    assert_eq!(positions(&stream.take(1).await), [4]);
}

async fn invalid_requests_are_refused_without_side_effects(db: TestDb) {
    let Fixture { _server: server, manager, books } = fixture(&db, 1).await;
    connect_all(&server, "p2", &["manager"]).await;
    let mut live = EventStream::open(&books, named("ledger")).await;
    live.take(1).await;
    let refuse = async |request: SubscribeRequest| {
        EventStream::try_open(&books, request).await.expect_err("a refusal")
    };
    let long = EventStream::try_open(&books, named(&"n".repeat(10_000))).await;
    let long = assert_refused(long, Code::InvalidArgument, "VALUE_TOO_LONG");
    assert!(long.message().len() < 500, "the message does not repeat the name");
    for name in ["a b", "a/b", "naïve", "\u{1}"] {
        let refused = refuse(named(name)).await;
        assert_eq!(reason(&refused), "INVALID_CHARACTER", "{name}");
    }
    let several = SubscribeRequest {
        start_from: 77,
        echo_mode: 77,
        record_kinds: vec![77],
        max_unacknowledged: -1,
        practices: vec!["no/practice".into()],
        ..named("ledger")
    };
    let refused = refuse(several).await;
    let fields: Vec<String> = violations(&refused).into_iter().map(|(field, _)| field).collect();
    let expected =
        ["start_from", "echo_mode", "record_kinds", "practices[0]", "max_unacknowledged"];
    assert_eq!(fields, expected);
    let unnamed =
        SubscribeRequest { restart: true, max_unacknowledged: 5, ..SubscribeRequest::default() };
    assert_eq!(violations(&refuse(unnamed).await).len(), 2);
    let both = SubscribeRequest { start_from: StartFrom::Now.into(), ..after(&live.cursor) };
    assert_eq!(reason(&refuse(both).await), "FIELD_NOT_APPLICABLE");
    // An unconnected practice and an unknown one get the same error.
    for practice in ["p2", "p999"] {
        let other =
            SubscribeRequest { practices: vec![practice.into()], ..SubscribeRequest::default() };
        let refused = EventStream::try_open(&books, other).await;
        assert_refused(refused, Code::NotFound, "NOT_FOUND");
    }
    create_all(&manager, ["R9".to_owned()]).await;
    assert_eq!(live.take(1).await.len(), 1, "the open stream is not affected");
}

async fn subscription_is_scoped_to_product_account_and_practice(db: TestDb) {
    let Fixture { _server: server, manager, books } = fixture(&db, 2).await;
    connect_all(&server, "p2", &["books"]).await;
    let mut own = EventStream::open(&books, named("ledger")).await;
    own.take(2).await;
    own.acknowledge(&books).await;
    let elsewhere = server.owner("p2", "books").await;
    let others = [
        manager.clone(),
        books.clone().with("x-concord-account", "second"),
        books.clone().without("x-concord-practice"),
        elsewhere,
    ];
    for other in &others {
        let get = GetSubscriptionRequest { subscription: "ledger".into() };
        assert_refused(other.changes().get_subscription(get).await, Code::NotFound, "NOT_FOUND");
        let refused = acknowledge(other, "ledger", &own.cursor).await;
        assert_refused(refused, Code::NotFound, "NOT_FOUND");
        let stream = EventStream::open(other, named("ledger")).await;
        assert_eq!(stream.handshake.position, 0, "a separate subscription");
    }
    create_all(&manager, ["R9".to_owned()]).await;
    assert_eq!(positions(&own.take(1).await), [3], "the own stream is not affected");
}

async fn lag_of_every_subscription_is_listed(db: TestDb) {
    let Fixture { _server: server, manager, books } = fixture(&db, 5).await;
    connect_all(&server, "p2", &["manager", "books"]).await;
    let other = server.owner("p2", "manager").await;
    create_all(&other, references(2)).await;
    let everywhere = books.clone().without("x-concord-practice");
    let kinds = vec![RecordKind::Client.into()];
    let request = SubscribeRequest { record_kinds: kinds.clone(), ..named("ledger") };
    let mut stream = EventStream::open(&books, request).await;
    stream.take(5).await;
    let mut wide = EventStream::open(&everywhere, named("wide")).await;
    wide.take(7).await;
    let wide_of_two = SubscribeRequest { practices: vec!["p2".into()], ..named("two") };
    EventStream::open(&everywhere, wide_of_two).await.take(2).await;
    EventStream::open(&manager, named("own")).await;
    let list = async |caller: &Caller, product: &str| {
        let request = ListSubscriptionsRequest { product: product.into(), ..Default::default() };
        let listed = caller.changes().list_subscriptions(request).await.unwrap().into_inner();
        listed.subscriptions
    };
    let all = list(&manager, "").await;
    let shown: Vec<_> = all.iter().map(|s| (s.product.as_str(), s.name.as_str())).collect();
    assert_eq!(shown, [("books", "wide"), ("books", "ledger"), ("manager", "own")]);
    let [wide, ledger, own] = all.as_slice() else { panic!("three") };
    assert_eq!(
        (wide.lag_changes, ledger.lag_changes),
        (5, 5),
        "lag within the practice of the caller"
    );
    assert_eq!((wide.practice_id.as_str(), ledger.practice_id.as_str()), ("", "p1"));
    assert_eq!(ledger.record_kinds, kinds);
    assert!(ledger.expire_time.is_some() && !ledger.lag_changes_truncated);
    assert_eq!(own.product, "manager");
    assert_eq!(list(&manager, "manager").await.len(), 1);
    assert_eq!(list(&manager, "ap").await.len(), 0, "not connected");
    let of_product = list(&everywhere, "").await;
    let lags: Vec<_> = of_product.iter().map(|s| (s.name.as_str(), s.lag_changes)).collect();
    assert_eq!(
        lags,
        [("two", 2), ("wide", 7), ("ledger", 5)],
        "lag of what each subscription requests"
    );
    // Paginated.
    let mut request = ListSubscriptionsRequest { page_size: 1, ..Default::default() };
    let mut names = Vec::new();
    loop {
        let page = everywhere.changes().list_subscriptions(request.clone()).await.unwrap();
        let page = page.into_inner();
        names.extend(page.subscriptions.into_iter().map(|s| s.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["two", "wide", "ledger"]);
}

async fn support_role_cannot_take_over_subscription(db: TestDb) {
    let Fixture { manager, books, .. } = fixture(&db, 1).await;
    let mut live = EventStream::open(&books, named("ledger")).await;
    live.take(1).await;
    let support = books.as_support();
    let refused = EventStream::try_open(&support, named("ledger")).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    let refused = acknowledge(&support, "ledger", &live.cursor).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    let delete = DeleteSubscriptionRequest { subscription: "ledger".into() };
    let refused = support.changes().delete_subscription(delete).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    assert_eq!(subscription(&support, "ledger").await.name, "ledger", "but reads it");
    EventStream::open(&support, from_earliest()).await.take(1).await;
    create_all(&manager, ["R9".to_owned()]).await;
    assert_eq!(live.take(1).await.len(), 1);
}

async fn old_connection_closes_with_cursor(db: TestDb) {
    let server = servers::records_with(db.settings(), |config| {
        config.connection_age = Duration::from_secs(4);
    })
    .await;
    connect_all(&server, "p1", &["manager", "books"]).await;
    let (manager, books) = owners(&server).await;
    create_all(&manager, references(1)).await;
    let mut stream = EventStream::open(&books, named("ledger")).await;
    stream.take(1).await;
    let closing = loop {
        match stream.message().await.unwrap() {
            Some(Message::Closing(closing)) => break closing,
            Some(_) => {}
            None => panic!("no Closing message"),
        }
    };
    assert_eq!(closing.reason, 2, "the age of the connection");
    assert_eq!(stream.message().await.unwrap(), None, "a clean end");
    // The channel reconnects by itself after a moment. Until then a call may still use the
    // old connection.
    let both = SubscribeRequest { cursor: closing.cursor, ..named("ledger") };
    loop {
        let mut again = match EventStream::try_open(&books, both.clone()).await {
            Ok(again) => again,
            Err(broken) => {
                // A status from the server has no source.
                assert!(std::error::Error::source(&broken).is_some(), "{broken:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        assert_eq!(again.handshake.position, 1);
        // The connection of the first calls is as old. This one is new.
        let manager = server.owner("p1", "manager").await;
        create_all(&manager, [request_id()]).await;
        if let Some(Message::Events(_)) = again.message().await.unwrap() {
            return;
        }
    }
}

/// A snapshot cursor has ids of a practice and a record.
async fn cursor_is_visible_to_own_product_and_scope_only(db: TestDb) {
    let (server, manager, of_p1) = two_products(&db).await;
    connect_all(&server, "p2", &["manager", "books"]).await;
    let other = server.owner("p2", "manager").await;
    for manager in [&manager, &other] {
        create_all(manager, references(1)).await;
    }
    let backend = of_p1.clone().without("x-concord-practice");
    let request =
        SubscribeRequest { start_from: StartFrom::Snapshot.into(), ..named("everything") };
    let mut stream = EventStream::open(&backend, request).await;
    let first = stream.message().await.unwrap();
    assert!(matches!(first, Some(Message::SnapshotRecords(_))), "{first:?}");
    stream.acknowledge(&backend).await;
    EventStream::open(&of_p1, named("ledger")).await;

    let cursor = async |caller: &Caller, name: &str| {
        let request = ListSubscriptionsRequest::default();
        let listed = caller.changes().list_subscriptions(request).await.unwrap().into_inner();
        let found = listed.subscriptions.into_iter().find(|one| one.name == name).unwrap();
        assert_eq!(found.in_snapshot, name == "everything");
        found.acknowledged_cursor
    };
    assert_eq!(cursor(&backend, "everything").await, stream.cursor);
    assert!(!cursor(&backend, "ledger").await.is_empty(), "it may read all practices");
    assert!(!cursor(&of_p1, "ledger").await.is_empty());
    assert_eq!(cursor(&of_p1, "everything").await, "");
    for manager in [&manager, &other] {
        assert_eq!(cursor(manager, "everything").await, "");
    }
    assert_eq!(cursor(&manager, "ledger").await, "");
    server.stop().await;
}
