//! Streams that stay open while the history of their feed is replaced: a standby that
//! lost the last commits replaces the database.

use super::{fixture::*, *};
use crate::feed::opening;

storage_tests! {
    stream_ends_when_its_history_was_replaced,
    stream_ahead_of_its_feed_ends,
    stream_ends_when_the_epoch_changed,
    stream_with_full_window_ends_when_history_was_replaced,
    snapshot_ends_when_history_was_replaced,
    progress_of_a_lost_history_is_not_stored,
    subscription_ahead_of_its_feed_is_rejected,
    purge_up_to_stream_position_keeps_stream_open,
}

/// Only the tail detects the replacement.
const TAIL_ONLY: StreamIntervals =
    StreamIntervals { heartbeat: Duration::from_millis(20), check: NEVER, write: NEVER };

/// Number of changes that all histories share.
const COMMON: i64 = 5;
const HEAD: i64 = 30;

/// Streams of each kind, all at the head.
async fn caught_up(feed: &Feed) -> Vec<(&'static str, Messages)> {
    for practice in ["p1", "p2", "p1"] {
        fill(feed, practice, 10).await;
    }
    let own = SubscribeCommand { start: Start::Earliest, filter: everything(), named: None };
    let mut streams = vec![
        ("all", stream(feed, everything(), None).await),
        ("all, by name", stream(feed, everything(), Some("all")).await),
        ("of p1", stream(feed, of_practices(&["p1"]), None).await),
        ("of p1 and p3, by name", stream(feed, of_practices(&["p1", "p3"]), Some("of")).await),
        ("nothing, by name", stream(feed, nothing(), Some("nothing")).await),
        ("bound to p1", open(feed, subscriber(Some("p1")), own, None).await.unwrap()),
    ];
    for (_, messages) in &mut streams {
        until(messages, HEAD).await;
    }
    streams
}

async fn assert_end(streams: Vec<(&'static str, Messages)>, expected: &str) {
    for (name, mut messages) in streams {
        let (received, status) = end(&mut messages).await;
        assert_eq!(received.events, [], "{name} continues");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::OutOfRange, expected),
            "{name}"
        );
        let details = status.get_error_details();
        let cursors = &details.error_info().unwrap().metadata;
        for at in ["earliest_cursor", "latest_cursor"] {
            assert!(Cursor::decode(&cursors[at]).is_some(), "{name}: {at}");
        }
    }
}

async fn stream_ends_when_its_history_was_replaced(t: TestDb) {
    let feed = feed_at(t.database().await, TAIL_ONLY).await;
    let streams = caught_up(&feed).await;
    // The new feed is past the old head at the first check.
    let replaced = [lost_after(COMMON), filled(&feed, "p2", 20), filled(&feed, "p1", 40)];
    run(&feed, replaced.concat()).await;
    assert_end(streams, "CURSOR_FOREIGN").await;
    feed.stop().cancel();
}

async fn stream_ahead_of_its_feed_ends(t: TestDb) {
    let feed = feed_at(t.database().await, TAIL_ONLY).await;
    let streams = caught_up(&feed).await;
    run(&feed, lost_after(COMMON)).await;
    assert_end(streams, "CURSOR_TOO_NEW").await;
    feed.stop().cancel();
}

async fn stream_ends_when_the_epoch_changed(t: TestDb) {
    let feed = feed_at(t.database().await, TAIL_ONLY).await;
    let streams = caught_up(&feed).await;
    let sql = "UPDATE feed_product SET epoch = $1";
    run(&feed, vec![(sql.to_owned(), vec![new_uuid().into()])]).await;
    assert_end(streams, "CURSOR_FOREIGN").await;
    feed.stop().cancel();
}

async fn stream_with_full_window_ends_when_history_was_replaced(t: TestDb) {
    let intervals = StreamIntervals { check: Duration::from_millis(20), ..TAIL_ONLY };
    let feed = feed_at(t.database().await, intervals).await;
    fill(&feed, "p1", HEAD).await;
    let named = Some(named("slow", 10));
    let command = SubscribeCommand { start: Start::Earliest, filter: everything(), named };
    let mut messages = open(&feed, subscriber(None), command, None).await.unwrap();
    assert_eq!(until(&mut messages, 10).await.events.len(), 10);
    run(&feed, [lost_after(COMMON), filled(&feed, "p1", 40)].concat()).await;
    assert_end(vec![("slow", messages)], "CURSOR_FOREIGN").await;
    feed.stop().cancel();
}

async fn snapshot_ends_when_history_was_replaced(t: TestDb) {
    let feed = feed_at(t.database().await, TAIL_ONLY).await;
    fill(&feed, "p1", HEAD).await;
    let sql = "INSERT INTO person (practice_id, id, emails, phones, state, version, created_at, \
               updated_at, image) VALUES ('p1', $1, '[]', '[]', 'ACTIVE', 1, $2, $2, $3)";
    let person = |_| {
        let values = vec![new_uuid().into(), time(0).into(), vec![0_u8; 8].into()];
        (sql.to_owned(), values)
    };
    run(&feed, (0..2_000).map(person).collect()).await;
    let command = SubscribeCommand { start: Start::Snapshot, filter: everything(), named: None };
    let mut messages = open(&feed, subscriber(Some("p1")), command, None).await.unwrap();
    assert!(matches!(next(&mut messages).await, Ok(Message::Handshake(_))));
    while !matches!(next(&mut messages).await.unwrap(), Message::SnapshotRecords(_)) {}
    run(&feed, [lost_after(COMMON), filled(&feed, "p1", 40)].concat()).await;
    let (received, status) = end(&mut messages).await;
    assert_eq!(reason(&status), "CURSOR_FOREIGN");
    assert_eq!(received.snapshot_ends, 0, "no end of the snapshot");
    feed.stop().cancel();
}

async fn progress_of_a_lost_history_is_not_stored(t: TestDb) {
    let intervals = StreamIntervals { write: Duration::from_millis(5), ..TAIL_ONLY };
    let feed = feed_at(t.database().await, intervals).await;
    fill(&feed, "p1", HEAD).await;
    let mut messages = stream(&feed, nothing(), Some("nothing")).await;
    until(&mut messages, HEAD).await;
    stored_subscription(&feed, "nothing", |row| row.acked.position == HEAD).await;
    // The standby has an older state of the subscription.
    let earlier = "UPDATE feed_subscription SET acked_pos = 2, delivered_pos = 2, seen_pos = 2";
    let earlier = vec![(earlier.to_owned(), Vec::new())];
    run(&feed, [lost_after(COMMON), filled(&feed, "p1", 40), earlier].concat()).await;
    assert_end(vec![("nothing", messages)], "CURSOR_FOREIGN").await;
    let row = stored_subscription(&feed, "nothing", |row| row.active_until.is_none()).await;
    assert_eq!((row.acked.position, row.seen), (2, 2));
    feed.stop().cancel();
}

async fn subscription_ahead_of_its_feed_is_rejected(t: TestDb) {
    let feed = feed_at(t.database().await, TAIL_ONLY).await;
    fill(&feed, "p1", HEAD).await;
    let mut messages = stream(&feed, everything(), Some("all")).await;
    let mut cursor = None;
    while cursor.is_none() {
        if let Message::Events(batch) = next(&mut messages).await.unwrap() {
            cursor = Cursor::decode(&batch.cursor);
        }
    }
    drop(messages);
    stored_subscription(&feed, "all", |row| row.active_until.is_none()).await;
    let resume_point =
        "UPDATE feed_subscription SET acked_pos = 30, delivered_pos = 30, seen_pos = 30";
    let resume_point = vec![(resume_point.to_owned(), Vec::new())];
    run(&feed, [lost_after(COMMON), resume_point].concat()).await;
    let named = Some(named("all", 10));
    let command = SubscribeCommand { start: Start::Earliest, filter: everything(), named };
    let refused = Status::from(open(&feed, subscriber(None), command, None).await.unwrap_err());
    assert_eq!(reason(&refused), "CURSOR_TOO_NEW");
    // Its cursor is rejected too, before and after new changes.
    let (db, all, cursor) = (feed.db().reader(), subscriber(None), cursor.unwrap());
    let refused = Status::from(opening::check(db, &all, &cursor).await.unwrap_err());
    assert_eq!(reason(&refused), "CURSOR_TOO_NEW");
    fill(&feed, "p1", 40).await;
    let refused = Status::from(opening::check(db, &all, &cursor).await.unwrap_err());
    assert_eq!(reason(&refused), "CURSOR_FOREIGN");
    feed.stop().cancel();
}

async fn purge_up_to_stream_position_keeps_stream_open(t: TestDb) {
    let intervals = StreamIntervals { check: Duration::from_millis(5), ..TAIL_ONLY };
    let feed = feed_at(t.database().await, intervals).await;
    let mut streams = caught_up(&feed).await;
    assert_eq!(purge(&feed, "books", 2).await, HEAD);
    for (_, messages) in &mut streams {
        for _ in 0..5 {
            until(messages, HEAD).await;
        }
    }
    fill(&feed, "p1", 1).await;
    for (name, messages) in &mut streams {
        let received = until(messages, HEAD + 1).await;
        let expected = if name.starts_with("nothing") { vec![] } else { vec![(HEAD, HEAD + 1)] };
        assert_eq!(received.events, expected, "{name}");
    }
    feed.stop().cancel();
}
