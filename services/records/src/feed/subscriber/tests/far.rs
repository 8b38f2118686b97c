//! Streams that have far to go, with little of it for them.

use super::{world::*, *};
use crate::store::feed::lag::lag;

storage_tests! {
    a_stream_with_far_to_go_tells_how_far_it_has_come,
    a_stream_that_is_left_reads_no_further,
    a_stream_that_is_not_read_reads_nothing,
    a_stream_that_is_taken_over_while_it_reads_ends,
    a_disconnected_practice_ends_a_stream_that_reads,
    the_place_of_a_stream_that_reads_is_written_down,
    a_stream_of_one_practice_reads_that_practice_alone,
    a_stream_of_some_practices_misses_nothing_of_them,
    changes_that_expire_end_a_stream_that_waits_for_room,
    what_waits_is_counted_behind_the_changes_of_others,
}

const QUIET: Pace = Pace { heartbeat: NEVER, check: NEVER, write: NEVER };
const SOON: Duration = Duration::from_millis(1);

/// Reads of the feed that a whole way takes, of so many changes that are left out.
const READS: i64 = 60;
const FAR: i64 = READS * 500;

/// A database whose reads of the feed are counted.
async fn counted(t: &TestDb) -> (Database, Arc<AtomicI64>) {
    counted_before(t, i64::MAX).await
}

/// The same without those from a position on, as the tail makes them.
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

async fn a_stream_with_far_to_go_tells_how_far_it_has_come(t: TestDb) {
    let feed = feed_at(t.database().await, Pace { heartbeat: SOON, ..QUIET }).await;
    fill(&feed, "p1", FAR).await;
    let told = until(&mut stream(&feed, nothing(), None).await, FAR).await;
    assert!(told.beats.is_sorted());
    let between = told.beats.iter().filter(|position| (1..FAR).contains(*position));
    assert!(between.count() > 1, "{:?}", told.beats);
    feed.stop().cancel();
}

async fn a_stream_that_is_left_reads_no_further(t: TestDb) {
    let (db, reads) = counted(&t).await;
    let feed = feed_at(db, QUIET).await;
    fill(&feed, "p1", FAR).await;
    drop(stream(&feed, nothing(), Some("left")).await);
    kept(&feed, "left", |row| row.active_until.is_none()).await;
    let reads = reads.load(Ordering::SeqCst);
    assert!(reads < READS / 2, "{reads} of {READS}");
    feed.stop().cancel();
}

async fn a_stream_that_is_not_read_reads_nothing(t: TestDb) {
    let (db, reads) = counted_before(&t, 3_000).await;
    let feed = feed_at(db, QUIET).await;
    fill(&feed, "p1", 3_000).await;
    let before = reads.load(Ordering::SeqCst);
    let mut messages = stream(&feed, everything(), None).await;
    let mut told = Told::default();
    for taken in 0..5 {
        // Long enough for the next one to be read, if the stream did so.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let count = reads.load(Ordering::SeqCst) - before;
        // One read may be the tail's, which may have been late.
        assert!(count <= taken.max(1), "{count} reads for {taken} messages");
        told.take(next(&mut messages).await.unwrap());
    }
    assert_eq!(told.events.len(), 4 * 500);
    feed.stop().cancel();
}

async fn a_stream_that_is_taken_over_while_it_reads_ends(t: TestDb) {
    let feed = feed_at(t.database().await, Pace { heartbeat: SOON, ..QUIET }).await;
    fill(&feed, "p1", FAR).await;
    let mut older = stream(&feed, nothing(), Some("ledger")).await;
    until(&mut older, 1).await;
    let older = tokio::spawn(async move { end(&mut older).await });
    let newer = stream(&feed, nothing(), Some("ledger")).await;
    let (told, status) = older.await.unwrap();
    assert_eq!(reason(&status), "SUBSCRIPTION_TAKEN_OVER");
    assert!(!told.beats.contains(&FAR), "it has read to the end");
    drop(newer);
    feed.stop().cancel();
}

async fn a_disconnected_practice_ends_a_stream_that_reads(t: TestDb) {
    let feed = feed_at(t.database().await, Pace { heartbeat: SOON, check: SOON, ..QUIET }).await;
    fill(&feed, "p1", FAR).await;
    let asked = Subscribing { start: Start::Earliest, filter: nothing(), named: None };
    let mut messages = open(&feed, listener(Some("p1")), asked, None).await.unwrap();
    until(&mut messages, 1).await;
    let ended = tokio::spawn(async move { end(&mut messages).await });
    run(&feed, vec![("DELETE FROM connection".to_owned(), Vec::new())]).await;
    let (told, status) = ended.await.unwrap();
    assert_eq!(reason(&status), "PRODUCT_NOT_CONNECTED");
    assert!(!told.beats.contains(&FAR), "it has read to the end");
    feed.stop().cancel();
}

async fn the_place_of_a_stream_that_reads_is_written_down(t: TestDb) {
    let feed = feed_at(t.database().await, Pace { write: SOON, ..QUIET }).await;
    fill(&feed, "p1", FAR).await;
    let mut messages = stream(&feed, nothing(), Some("ledger")).await;
    // Nothing is read for a reader that does not read.
    let reads = tokio::spawn(async move { while messages.recv().await.is_some() {} });
    let row = kept(&feed, "ledger", |row| row.seen > 0).await;
    assert!(row.seen < FAR, "only at the end");
    assert_eq!(row.acked.position, row.seen, "nothing was sent");
    reads.abort();
    feed.stop().cancel();
}

/// The events, each of which has to name the one before it.
fn chain(told: Told) -> Vec<i64> {
    let mut last = 0;
    for (previous, position) in &told.events {
        assert_eq!(*previous, last, "a hole in {told:?}");
        last = *position;
    }
    told.events.into_iter().map(|(_, position)| position).collect()
}

async fn a_stream_of_one_practice_reads_that_practice_alone(t: TestDb) {
    let (db, reads) = counted(&t).await;
    let feed = feed_at(db, Pace { heartbeat: Duration::from_millis(200), ..QUIET }).await;
    for (practice, count) in [("p1", 2), ("p2", FAR), ("p1", 600), ("p3", FAR), ("p1", 1)] {
        fill(&feed, practice, count).await;
    }
    fill(&feed, "p2", 7).await;
    let head = 2 * FAR + 610;
    let expected: Vec<i64> =
        [1..=2, FAR + 3..=FAR + 602, 2 * FAR + 603..=2 * FAR + 603].into_iter().flatten().collect();
    let own = |filter| Subscribing { start: Start::Earliest, filter, named: None };
    for (practice, filter) in [(Some("p1"), everything()), (None, of_practices(&["p1"]))] {
        let before = reads.load(Ordering::SeqCst);
        let asked = own(filter);
        let mut messages = open(&feed, listener(practice), asked, None).await.unwrap();
        let told = until(&mut messages, head).await;
        assert_eq!(chain(told), expected);
        // What is left out after the last one is dealt with at once.
        let count = reads.load(Ordering::SeqCst) - before;
        assert!(count < 10, "{count} reads");
    }
    feed.stop().cancel();
}

/// While others write, by reads of the tables and from the tail.
async fn a_stream_of_some_practices_misses_nothing_of_them(t: TestDb) {
    let feed = feed_at(t.database().await, Pace { heartbeat: SOON, ..QUIET }).await;
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
    let asked = Subscribing { start: Start::Earliest, filter, named };
    let mut messages = open(&feed, listener(None), asked, None).await.unwrap();
    let mut heard = Told::default();
    let acknowledged = "UPDATE feed_subscription SET acked_pos = $1";
    loop {
        let told = until(&mut messages, 1).await;
        heard.events.extend(told.events);
        if let Some((_, last)) = heard.events.last() {
            run(&feed, vec![(acknowledged.to_owned(), vec![(*last).into()])]).await;
            feed.subscription_has_changed(&key("some"));
        }
        let sql = "SELECT pos FROM feed_entry WHERE practice_id <> 'p2' ORDER BY pos";
        if !writer.is_finished() {
            continue;
        }
        let rows = Statement::from_string(feed.db().engine(), sql);
        let rows = feed.db().reader().query_all_raw(rows).await.unwrap();
        let expected: Vec<i64> = rows.iter().map(|row| row.try_get("", "pos").unwrap()).collect();
        if heard.events.last().map(|(_, last)| last) == expected.last() {
            assert_eq!(chain(heard), expected);
            break;
        }
    }
    writer.await.unwrap();
    feed.stop().cancel();
}

async fn changes_that_expire_end_a_stream_that_waits_for_room(t: TestDb) {
    let pace = Pace { heartbeat: Duration::from_millis(20), check: SOON, ..QUIET };
    let feed = feed_at(t.database().await, pace).await;
    fill(&feed, "p1", 30).await;
    let asked = Subscribing {
        start: Start::Earliest,
        filter: everything(),
        named: Some(named("slow", 10)),
    };
    let mut messages = open(&feed, listener(None), asked, None).await.unwrap();
    until(&mut messages, 10).await;
    assert_eq!(purge(&feed, "books", 2).await, 30);
    let (told, status) = end(&mut messages).await;
    assert_eq!(told.events, []);
    assert_eq!((status.code(), reason(&status).as_str()), (Code::OutOfRange, "CURSOR_TOO_OLD"));
    feed.stop().cancel();
}

async fn what_waits_is_counted_behind_the_changes_of_others(t: TestDb) {
    let feed = feed_at(t.database().await, QUIET).await;
    fill(&feed, "p2", 12_000).await;
    fill(&feed, "p1", 3).await;
    let lag_of = async |after, filter: Filter| {
        let product = "books".parse().unwrap();
        lag(feed.db().reader(), &product, after, &filter.practices()).await.unwrap()
    };
    let found = lag_of(0, of_practices(&["p1"])).await;
    assert_eq!((found.changes, found.cut, found.oldest), (3, false, Some(time(1))));
    let found = lag_of(12_002, of_practices(&["p1", "p1"])).await;
    assert_eq!((found.changes, found.cut, found.oldest), (1, false, Some(time(1))));
    let found = lag_of(12_003, of_practices(&["p1"])).await;
    assert_eq!((found.changes, found.cut, found.oldest), (0, false, None));
    let found = lag_of(0, of_practices(&["p1", "p2"])).await;
    assert_eq!((found.changes, found.cut, found.oldest), (10_000, true, Some(time(1))));
    let found = lag_of(11_000, of_practices(&["p1", "p2"])).await;
    assert_eq!((found.changes, found.cut), (1_003, false));
    let found = lag_of(0, everything()).await;
    assert_eq!((found.changes, found.cut, found.oldest), (12_003, false, Some(time(1))));
}
