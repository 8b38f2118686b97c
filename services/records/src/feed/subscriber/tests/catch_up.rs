//! Streams that catch up over many changes, most of which their filter excludes.

use super::{fixture::*, *};
use crate::store::feed::lag::lag;

storage_tests! {
    long_catch_up_sends_heartbeats_with_positions,
    disconnected_stream_stops_reading,
    unread_stream_reads_nothing,
    takeover_during_catch_up_ends_older_stream,
    disconnect_during_catch_up_ends_stream,
    progress_during_catch_up_is_stored,
    stream_of_one_practice_reads_only_its_changes,
    stream_of_some_practices_receives_all_their_changes,
    purge_ends_stream_with_full_window,
    lag_excludes_changes_of_other_practices,
}

const NO_TASKS: StreamIntervals = StreamIntervals { heartbeat: NEVER, check: NEVER, write: NEVER };
const FREQUENT: Duration = Duration::from_millis(1);

/// Number of reads of a whole catch-up over `FAR` excluded changes.
const READS: i64 = 60;
const FAR: i64 = READS * 500;

/// A database with a counter of its feed reads.
async fn counted(t: &TestDb) -> (Database, Arc<AtomicI64>) {
    counted_before(t, i64::MAX).await
}

/// As `counted`, without reads after `position`: the tail makes those.
async fn counted_before(t: &TestDb, position: i64) -> (Database, Arc<AtomicI64>) {
    let reads = Arc::new(AtomicI64::new(0));
    let count = reads.clone();
    let observer = move |statement: &Statement| {
        let mut values = statement.values.iter().flat_map(|values| &values.0);
        let is_read = statement.sql.contains("LEFT JOIN feed_entry")
            && statement.sql.contains("c.*")
            && !values.any(|value| *value == position.into());
        count.fetch_add(i64::from(is_read), Ordering::SeqCst);
    };
    (Database::connect(&t.settings().observed(observer)).await.unwrap(), reads)
}

async fn long_catch_up_sends_heartbeats_with_positions(t: TestDb) {
    let feed =
        feed_at(t.database().await, StreamIntervals { heartbeat: FREQUENT, ..NO_TASKS }).await;
    fill(&feed, "p1", FAR).await;
    let received = until(&mut stream(&feed, nothing(), None).await, FAR).await;
    assert!(received.heartbeats.is_sorted());
    let between = received.heartbeats.iter().filter(|position| (1..FAR).contains(*position));
    assert!(between.count() > 1, "{:?}", received.heartbeats);
    feed.stop().cancel();
}

async fn disconnected_stream_stops_reading(t: TestDb) {
    let (db, reads) = counted(&t).await;
    let feed = feed_at(db, NO_TASKS).await;
    fill(&feed, "p1", FAR).await;
    drop(stream(&feed, nothing(), Some("abandoned")).await);
    stored_subscription(&feed, "abandoned", |row| row.active_until.is_none()).await;
    let reads = reads.load(Ordering::SeqCst);
    assert!(reads < READS / 2, "{reads} of {READS}");
    feed.stop().cancel();
}

async fn unread_stream_reads_nothing(t: TestDb) {
    let (db, reads) = counted_before(&t, 3_000).await;
    let feed = feed_at(db, NO_TASKS).await;
    fill(&feed, "p1", 3_000).await;
    let before = reads.load(Ordering::SeqCst);
    let mut messages = stream(&feed, everything(), None).await;
    let mut received = Received::default();
    for taken in 0..5 {
        // Long enough for another read, if the stream made one.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let count = reads.load(Ordering::SeqCst) - before;
        // One read may be a late one of the tail.
        assert!(count <= taken.max(1), "{count} reads for {taken} messages");
        received.take(next(&mut messages).await.unwrap());
    }
    assert_eq!(received.events.len(), 4 * 500);
    feed.stop().cancel();
}

async fn takeover_during_catch_up_ends_older_stream(t: TestDb) {
    let feed =
        feed_at(t.database().await, StreamIntervals { heartbeat: FREQUENT, ..NO_TASKS }).await;
    fill(&feed, "p1", FAR).await;
    let mut older = stream(&feed, nothing(), Some("ledger")).await;
    until(&mut older, 1).await;
    let older = tokio::spawn(async move { end(&mut older).await });
    let newer = stream(&feed, nothing(), Some("ledger")).await;
    let (received, status) = older.await.unwrap();
    assert_eq!(reason(&status), "SUBSCRIPTION_TAKEN_OVER");
    assert!(!received.heartbeats.contains(&FAR), "it read to the end");
    drop(newer);
    feed.stop().cancel();
}

async fn disconnect_during_catch_up_ends_stream(t: TestDb) {
    let feed = feed_at(
        t.database().await,
        StreamIntervals { heartbeat: FREQUENT, check: FREQUENT, ..NO_TASKS },
    )
    .await;
    fill(&feed, "p1", FAR).await;
    let command = SubscribeCommand { start: Start::Earliest, filter: nothing(), named: None };
    let mut messages = open(&feed, subscriber(Some("p1")), command, None).await.unwrap();
    until(&mut messages, 1).await;
    let ended = tokio::spawn(async move { end(&mut messages).await });
    run(&feed, vec![("DELETE FROM connection".to_owned(), Vec::new())]).await;
    let (received, status) = ended.await.unwrap();
    assert_eq!(reason(&status), "PRODUCT_NOT_CONNECTED");
    assert!(!received.heartbeats.contains(&FAR), "it read to the end");
    feed.stop().cancel();
}

async fn progress_during_catch_up_is_stored(t: TestDb) {
    let feed = feed_at(t.database().await, StreamIntervals { write: FREQUENT, ..NO_TASKS }).await;
    fill(&feed, "p1", FAR).await;
    let mut messages = stream(&feed, nothing(), Some("ledger")).await;
    // The stream reads only while its client does.
    let reads = tokio::spawn(async move { while messages.recv().await.is_some() {} });
    let row = stored_subscription(&feed, "ledger", |row| row.seen > 0).await;
    assert!(row.seen < FAR, "only at the end");
    assert_eq!(row.acked.position, row.seen, "nothing was sent");
    reads.abort();
    feed.stop().cancel();
}

/// The positions of the events. Checks that each event names the one before it.
fn chain(received: Received) -> Vec<i64> {
    let mut last = 0;
    for (previous, position) in &received.events {
        assert_eq!(*previous, last, "a gap in {received:?}");
        last = *position;
    }
    received.events.into_iter().map(|(_, position)| position).collect()
}

async fn stream_of_one_practice_reads_only_its_changes(t: TestDb) {
    let (db, reads) = counted(&t).await;
    let feed =
        feed_at(db, StreamIntervals { heartbeat: Duration::from_millis(200), ..NO_TASKS }).await;
    for (practice, count) in [("p1", 2), ("p2", FAR), ("p1", 600), ("p3", FAR), ("p1", 1)] {
        fill(&feed, practice, count).await;
    }
    fill(&feed, "p2", 7).await;
    let head = 2 * FAR + 610;
    let expected: Vec<i64> =
        [1..=2, FAR + 3..=FAR + 602, 2 * FAR + 603..=2 * FAR + 603].into_iter().flatten().collect();
    let own = |filter| SubscribeCommand { start: Start::Earliest, filter, named: None };
    for (practice, filter) in [(Some("p1"), everything()), (None, of_practices(&["p1"]))] {
        let before = reads.load(Ordering::SeqCst);
        let command = own(filter);
        let mut messages = open(&feed, subscriber(practice), command, None).await.unwrap();
        let received = until(&mut messages, head).await;
        assert_eq!(chain(received), expected);
        // The excluded changes after the last match take no reads.
        let count = reads.load(Ordering::SeqCst) - before;
        assert!(count < 10, "{count} reads");
    }
    feed.stop().cancel();
}

/// With concurrent writers, by reads of the tables and from the tail.
async fn stream_of_some_practices_receives_all_their_changes(t: TestDb) {
    let feed =
        feed_at(t.database().await, StreamIntervals { heartbeat: FREQUENT, ..NO_TASKS }).await;
    fill(&feed, "p2", 700).await;
    let writer = {
        let feed = feed.clone();
        tokio::spawn(async move {
            for round in 0..40_i64 {
                for (practice, count) in [("p1", 1 + round % 3), ("p2", 400), ("p3", round % 2)] {
                    if count > 0 {
                        fill(&feed, practice, count).await;
                    }
                }
                feed.inner.sequenced.send_replace(());
            }
            fill(&feed, "p1", 1).await;
        })
    };
    let named = Some(named("some", 20));
    let filter = of_practices(&["p3", "p1", "p3"]);
    let command = SubscribeCommand { start: Start::Earliest, filter, named };
    let mut messages = open(&feed, subscriber(None), command, None).await.unwrap();
    let mut all = Received::default();
    let acknowledged = "UPDATE feed_subscription SET acked_pos = $1";
    loop {
        let received = until(&mut messages, 1).await;
        all.events.extend(received.events);
        if let Some((_, last)) = all.events.last() {
            run(&feed, vec![(acknowledged.to_owned(), vec![(*last).into()])]).await;
            feed.notify_subscription_changed(&key("some"));
        }
        let sql = "SELECT pos FROM feed_entry WHERE practice_id <> 'p2' ORDER BY pos";
        if !writer.is_finished() {
            continue;
        }
        let rows = Statement::from_string(feed.db().engine(), sql);
        let rows = feed.db().reader().query_all_raw(rows).await.unwrap();
        let expected: Vec<i64> = rows.iter().map(|row| row.try_get("", "pos").unwrap()).collect();
        if all.events.last().map(|(_, last)| last) == expected.last() {
            assert_eq!(chain(all), expected);
            break;
        }
    }
    writer.await.unwrap();
    feed.stop().cancel();
}

async fn purge_ends_stream_with_full_window(t: TestDb) {
    let intervals =
        StreamIntervals { heartbeat: Duration::from_millis(20), check: FREQUENT, ..NO_TASKS };
    let feed = feed_at(t.database().await, intervals).await;
    fill(&feed, "p1", 30).await;
    let command = SubscribeCommand {
        start: Start::Earliest,
        filter: everything(),
        named: Some(named("slow", 10)),
    };
    let mut messages = open(&feed, subscriber(None), command, None).await.unwrap();
    until(&mut messages, 10).await;
    assert_eq!(purge(&feed, "books", 2).await, 30);
    let (received, status) = end(&mut messages).await;
    assert_eq!(received.events, []);
    assert_eq!((status.code(), reason(&status).as_str()), (Code::OutOfRange, "CURSOR_TOO_OLD"));
    feed.stop().cancel();
}

async fn lag_excludes_changes_of_other_practices(t: TestDb) {
    let feed = feed_at(t.database().await, NO_TASKS).await;
    fill(&feed, "p2", 12_000).await;
    fill(&feed, "p1", 3).await;
    let lag_of = async |after, filter: Filter| {
        let product = "books".parse().unwrap();
        lag(feed.db().reader(), &product, after, &filter.practices()).await.unwrap()
    };
    let found = lag_of(0, of_practices(&["p1"])).await;
    assert_eq!((found.changes, found.truncated, found.oldest), (3, false, Some(time(1))));
    let found = lag_of(12_002, of_practices(&["p1", "p1"])).await;
    assert_eq!((found.changes, found.truncated, found.oldest), (1, false, Some(time(1))));
    let found = lag_of(12_003, of_practices(&["p1"])).await;
    assert_eq!((found.changes, found.truncated, found.oldest), (0, false, None));
    let found = lag_of(0, of_practices(&["p1", "p2"])).await;
    assert_eq!((found.changes, found.truncated, found.oldest), (10_000, true, Some(time(1))));
    let found = lag_of(11_000, of_practices(&["p1", "p2"])).await;
    assert_eq!((found.changes, found.truncated), (1_003, false));
    let found = lag_of(0, everything()).await;
    assert_eq!((found.changes, found.truncated, found.oldest), (12_003, false, Some(time(1))));
}
