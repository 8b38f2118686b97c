//! Replicas are killed at random moments under load: every acknowledged write is in the feed
//! once and in order, and a subscriber receives all of it.
//!
//! To run a thousand kills, 500 on each engine:
//!
//! ```console
//! CONCORD_KILLS=500 cargo test --release -p concord --test faults kills
//! ```

use std::time::{Duration, Instant};

use concord_testing::{TestDb, storage_tests};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::replica::Replica;
use concord_testing::e2e::{
    caller::Caller,
    failure::Failure,
    feed::{EventStream, from_earliest},
    follower::{FollowerConfig, ReceivedEvent, follow},
    rng::{SeededRng, setting},
    writing::{Ledger, Practice, check_feed},
};

storage_tests! { killed_replica_loses_no_acknowledged_write }

/// The default number of kills on each engine; `CONCORD_KILLS` overrides it.
const KILLS: usize = 25;

/// The maximum time between two kills.
const MAX_INTERVAL_MS: usize = 300;

/// Writers of each practice.
const WRITERS: usize = 3;

/// The timeout until every change has its position.
const SEQUENCING_TIMEOUT: Duration = Duration::from_secs(10);

/// The errors of callers of killed replicas. A replica that is killed while it takes over a
/// subscription may do so after the next one.
const EXPECTED: &[Failure] = &[Failure::ConnectionLost, Failure::Retryable, Failure::TakenOver];

async fn killed_replica_loses_no_acknowledged_write(db: TestDb) {
    let mut rng = SeededRng::from_env();
    // An SQLite file has one process.
    let count = if db.is_postgres() { 3 } else { 1 };
    let mut replicas: Vec<_> = (0..count).map(|_| Replica::start(db.url(), &mut rng)).collect();
    let ledger = Ledger::default();
    let practices = practices(&replicas, EXPECTED, &ledger).await;
    let stop = CancellationToken::new();
    let writers = practices.iter().flat_map(|practice| [practice; WRITERS]);
    let writers: Vec<_> = writers.map(|practice| practice.write(rng.fork(), 20, &stop)).collect();
    let (goal, until) = watch::channel(i64::MAX);
    let config = FollowerConfig {
        name: "ledger".to_owned(),
        window: 200,
        crash_percent: 0,
        expected: EXPECTED,
    };
    let follower = follow(callers(&replicas, "books", None), config, rng.fork(), until);

    for _ in 0..setting("CONCORD_KILLS", KILLS) {
        tokio::time::sleep(rng.millis(MAX_INTERVAL_MS)).await;
        let killed = rng.below(count);
        replicas[killed].kill_and_restart();
        replicas.iter_mut().for_each(Replica::restart_if_ended);
    }
    replicas.iter_mut().for_each(Replica::wait_until_listening);
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    let feed = whole_feed(&callers(&replicas, "books", None)[0], ledger.count()).await;
    check_feed(&feed, &ledger, &practices.iter().collect::<Vec<_>>()).await;
    goal.send_replace(ledger.count());
    let report = follower.end().await;
    eprintln!("{ledger}, {} streams, {} duplicates", report.streams, report.duplicates);
    assert_eq!(report.feed, feed, "the subscriber received the whole feed");
    for replica in &replicas {
        assert!(!replica.log().contains("panicked"), "{}", replica.log());
    }
}

/// A caller for each replica: a product in one practice, or in all.
pub(crate) fn callers(replicas: &[Replica], product: &str, practice: Option<&str>) -> Vec<Caller> {
    let caller = |replica: &Replica| match practice {
        Some(practice) => replica.owner(practice, product),
        None => replica.owner("p1", product).without("x-concord-practice"),
    };
    replicas.iter().map(caller).collect()
}

/// Two practices, with both products connected.
pub(crate) async fn practices(
    replicas: &[Replica],
    expected: &'static [Failure],
    ledger: &Ledger,
) -> Vec<Practice> {
    let mut practices = Vec::new();
    for name in ["p1", "p2"] {
        for product in ["manager", "books"] {
            replicas[0].owner(name, product).connect().await;
        }
        let callers = callers(replicas, "manager", Some(name));
        practices.push(Practice::new(name, callers, expected, ledger));
    }
    practices
}

/// The whole feed, once it has at least `count` changes, or after a timeout.
pub(crate) async fn whole_feed(books: &Caller, count: i64) -> Vec<ReceivedEvent> {
    let deadline = Instant::now() + SEQUENCING_TIMEOUT;
    let (mut stream, head) = loop {
        let stream = EventStream::open(books, from_earliest()).await;
        let head = stream.handshake.head_position;
        if head >= count || Instant::now() > deadline {
            break (stream, head);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let mut feed = Vec::new();
    while stream.last < head {
        feed.extend(stream.events().await.into_iter().map(ReceivedEvent::from));
    }
    feed
}
