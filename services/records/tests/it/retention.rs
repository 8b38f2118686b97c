//! Retention of feeds, and subscribers that were away for longer.

use chrono::TimeDelta;
use concord_core::clock::Clock;
use concord_proto::pb::records::{
    ConnectProductRequest, Delivery, DisconnectProductRequest, FeedPlace, SubscribeRequest,
    SubscriptionState, TraceChangeRequest,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::Caller,
    feed::{
        EventStream, acknowledge, after, create_all, from_earliest, named, owners, positions,
        references, restart, server_with, subscription, two_products,
    },
    records::{assert_refused, error_metadata, reason},
    servers::{self, Running},
};

storage_tests! {
    expired_changes_are_purged_and_old_cursors_refused,
    cursor_newer_than_restored_backup_is_refused,
    reconnected_product_must_restart_from_snapshot,
    reconnection_with_clock_behind_expires_subscription,
    connection_with_clock_ahead_keeps_subscription,
}

/// Starts a replica whose clock is ahead of the others.
async fn ahead(db: &TestDb, by: TimeDelta) -> Running {
    let now = servers::clock().now() + by;
    servers::records_with(db.settings(), |config| config.clock = Clock::fixed(now)).await
}

/// Waits until the changes up to the position `first` are purged.
async fn wait_until_purged(caller: &Caller, first: i64) {
    for _ in 0..200 {
        let stream = EventStream::open(caller, from_earliest()).await;
        if stream.handshake.position == first {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the changes were not purged");
}

async fn expired_changes_are_purged_and_old_cursors_refused(db: TestDb) {
    let server = server_with(&db, &["manager", "books", "ap"]).await;
    let (manager, books) = owners(&server).await;
    create_all(&manager, references(5)).await;
    let mut away = EventStream::open(&books, named("away")).await;
    away.take(5).await;
    let last = away.cursor.clone();
    let window = SubscribeRequest { max_unacknowledged: 2, ..named("some") };
    let mut some = EventStream::open(&books, window).await;
    some.take(2).await;
    let second = some.cursor.clone();
    some.acknowledge(&books).await;
    drop((away, some));
    server.stop().await;

    let server = ahead(&db, TimeDelta::days(31)).await;
    let (manager, books) = owners(&server).await;
    wait_until_purged(&books, 5).await;
    create_all(&manager, ["LATER".to_owned()]).await;
    assert_eq!(positions(&EventStream::open(&books, from_earliest()).await.take(1).await), [6]);
    // Directly before the oldest retained change: nothing is missed.
    let mut stream = EventStream::open(&books, after(&last)).await;
    assert_eq!(positions(&stream.take(1).await), [6]);
    // An older cursor.
    let refused = EventStream::try_open(&books, after(&second)).await;
    let refused = assert_refused(refused, Code::OutOfRange, "CURSOR_TOO_OLD");
    assert!(refused.message().contains("SNAPSHOT"), "{}", refused.message());
    let earliest = error_metadata(&refused, "earliest_cursor");
    assert_eq!(EventStream::open(&books, after(&earliest)).await.handshake.position, 5);
    assert_eq!(subscription(&books, "some").await.state(), SubscriptionState::Expired);
    for name in ["some", "away"] {
        let refused = EventStream::try_open(&books, named(name)).await.unwrap_err();
        assert_eq!(reason(&refused), "CURSOR_TOO_OLD", "{name}: acknowledged 2, and 0");
    }
    let refused = acknowledge(&books, "some", &second).await;
    assert_refused(refused, Code::OutOfRange, "CURSOR_TOO_OLD");
    let mut restarted = EventStream::open(&books, restart("some")).await;
    assert_eq!(restarted.snapshot().await.0.len(), 6);
    let trace = async |record: &str| {
        let request = TraceChangeRequest { record: record.into(), ..Default::default() };
        let traced = manager.support().trace_change(request).await.unwrap().into_inner();
        traced.changes[0].products.iter().find(|p| p.product == "books").unwrap().clone()
    };
    assert_eq!(trace("ref:R0").await.place(), FeedPlace::NotKept);
    let later = trace("ref:LATER").await;
    let missed = later.subscriptions.iter().find(|s| s.subscription == "away").unwrap();
    assert_eq!(missed.delivery(), Delivery::Missed);
}

async fn cursor_newer_than_restored_backup_is_refused(db: TestDb) {
    if db.is_postgres() {
        // The code is the same, and an SQLite file is quick to copy.
        return;
    }
    let (server, manager, books) = two_products(&db).await;
    create_all(&manager, references(3)).await;
    let mut stream = EventStream::open(&books, named("ledger")).await;
    stream.take(3).await;
    let before = stream.cursor.clone();
    drop(stream);
    server.stop().await;
    let backup = TestDb::copy_of(&db);

    let server = servers::records(db.settings()).await;
    let (manager, books) = owners(&server).await;
    create_all(&manager, ["LOST1".to_owned(), "LOST2".to_owned()]).await;
    let mut stream = EventStream::open(&books, named("ledger")).await;
    stream.take(5).await;
    let lost = stream.cursor.clone();
    drop(stream);
    server.stop().await;

    let server = servers::records(backup.settings()).await;
    let (manager, books) = owners(&server).await;
    let refused = EventStream::try_open(&books, after(&lost)).await;
    assert_refused(refused, Code::OutOfRange, "CURSOR_TOO_NEW");
    // With a subscription name, too: the stored position alone would not show it.
    let both = SubscribeRequest { cursor: lost.clone(), ..named("ledger") };
    let refused = EventStream::try_open(&books, both.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "CURSOR_TOO_NEW");
    assert_eq!(reason(&acknowledge(&books, "ledger", &lost).await.unwrap_err()), "CURSOR_TOO_NEW");
    // Other changes take those positions.
    create_all(&manager, references(3).map(|name| format!("NEW{name}"))).await;
    EventStream::open(&books, from_earliest()).await.take(6).await;
    for request in [after(&lost), both] {
        let refused = EventStream::try_open(&books, request).await;
        assert_refused(refused, Code::OutOfRange, "CURSOR_FOREIGN");
    }
    assert_eq!(reason(&acknowledge(&books, "ledger", &lost).await.unwrap_err()), "CURSOR_FOREIGN");
    let mut known = EventStream::open(&books, after(&before)).await;
    assert_eq!(
        positions(&known.take(3).await),
        [4, 5, 6],
        "a cursor from before the backup resumes"
    );
}

async fn reconnected_product_must_restart_from_snapshot(db: TestDb) {
    let (server, manager, books) = two_products(&db).await;
    create_all(&manager, references(2)).await;
    let mut stream = EventStream::open(&books, named("ledger")).await;
    stream.take(2).await;
    stream.acknowledge(&books).await;
    let disconnect = DisconnectProductRequest { product: "books".into() };
    manager.connections().disconnect_product(disconnect).await.unwrap();
    let ended = stream.end().await;
    assert_eq!(reason(&ended), "PRODUCT_NOT_CONNECTED", "an open stream ends");
    create_all(&manager, ["MISSED".to_owned()]).await;
    server.stop().await;

    let server = ahead(&db, TimeDelta::days(1)).await;
    let manager = server.owner("p1", "manager").await;
    let books = server.owner("p1", "books").await.connect().await;
    let refused = EventStream::try_open(&books, after(&stream.cursor)).await;
    assert_refused(refused, Code::OutOfRange, "CURSOR_FOREIGN");
    let refused = EventStream::try_open(&books, named("ledger")).await;
    assert_refused(refused, Code::OutOfRange, "CURSOR_TOO_OLD");
    let mut stream = EventStream::open(&books, restart("ledger")).await;
    assert_eq!(stream.snapshot().await.0.len(), 3);
    create_all(&manager, ["LATER".to_owned()]).await;
    assert_eq!(stream.take(1).await.len(), 1);
}

async fn connect(caller: &Caller, product: &str) {
    let connect = ConnectProductRequest { product: product.into() };
    caller.connections().connect_product(connect).await.unwrap();
}

/// Creates a subscription that has acknowledged the changes of two clients.
async fn create_acknowledged_subscription(manager: &Caller, books: &Caller) {
    create_all(manager, references(2)).await;
    let mut stream = EventStream::open(books, named("ledger")).await;
    stream.take(2).await;
    stream.acknowledge(books).await;
}

async fn reconnection_with_clock_behind_expires_subscription(db: TestDb) {
    let (server, manager, books) = two_products(&db).await;
    create_acknowledged_subscription(&manager, &books).await;
    server.stop().await;

    // The other replica creates a connection that seems older than the subscription.
    let server = ahead(&db, TimeDelta::minutes(-10)).await;
    let manager = server.owner("p1", "manager").await;
    let disconnect = DisconnectProductRequest { product: "books".into() };
    manager.connections().disconnect_product(disconnect).await.unwrap();
    create_all(&manager, ["MISSED".to_owned()]).await;
    connect(&manager, "books").await;
    create_all(&manager, ["LATER".to_owned()]).await;
    server.stop().await;

    let server = servers::records(db.settings()).await;
    let books = server.owner("p1", "books").await;
    let refused = EventStream::try_open(&books, named("ledger")).await;
    assert_refused(refused, Code::OutOfRange, "CURSOR_TOO_OLD");
    let mut stream = EventStream::open(&books, restart("ledger")).await;
    assert_eq!(stream.snapshot().await.0.len(), 4);
    drop(stream);
    // After the restart the subscription belongs to the new connection.
    EventStream::open(&books, named("ledger")).await;
}

async fn connection_with_clock_ahead_keeps_subscription(db: TestDb) {
    let server = ahead(&db, TimeDelta::minutes(10)).await;
    let manager = server.owner("p1", "manager").await;
    for product in ["manager", "books"] {
        connect(&manager, product).await;
    }
    server.stop().await;

    let server = servers::records(db.settings()).await;
    let (manager, books) = owners(&server).await;
    create_acknowledged_subscription(&manager, &books).await;
    create_all(&manager, ["LATER".to_owned()]).await;
    let mut stream = EventStream::open(&books, named("ledger")).await;
    assert_eq!(positions(&stream.take(1).await), [3]);
}
