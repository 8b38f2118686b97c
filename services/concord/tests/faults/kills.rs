//! Replicas that are killed at random moments, under load: whatever was answered
//! is in the feed once, in order, and a subscriber hears all of it.
//!
//! A thousand kills, 500 on each engine, take a while:
//!
//! ```console
//! CONCORD_KILLS=500 cargo test --release -p concord --test faults kills
//! ```

use std::time::{Duration, Instant};

use shared::testing::{TestDb, storage_tests};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    replica::Replica,
    support::{
        caller::Caller,
        dice::{Dice, setting},
        failure::Failure,
        feed::{Listening, from_earliest},
        follower::{Habits, Heard, follow},
        writing::{Ledger, Practice, check_feed},
    },
};

storage_tests! { what_was_answered_outlives_its_replica }

/// Kills on each engine, unless `CONCORD_KILLS` says otherwise.
const KILLS: usize = 25;

/// The longest time between two kills.
const PAUSE_MS: usize = 300;

/// Writers of each practice.
const WRITERS: usize = 3;

/// How long it takes at the most until every change has its position.
const SETTLED: Duration = Duration::from_secs(10);

/// What callers of replicas that are killed live with. A replica that is
/// killed while it takes a subscription over may do so after the next one.
const EXPECTED: &[Failure] = &[Failure::Cut, Failure::Later, Failure::TakenOver];

async fn what_was_answered_outlives_its_replica(db: TestDb) {
    let mut dice = Dice::of_this_run();
    // One process owns an SQLite file.
    let count = if db.is_postgres() { 3 } else { 1 };
    let mut replicas: Vec<_> = (0..count).map(|_| Replica::start(db.url(), &mut dice)).collect();
    let ledger = Ledger::default();
    let practices = practices(&replicas, EXPECTED, &ledger).await;
    let stop = CancellationToken::new();
    let writers = practices.iter().flat_map(|practice| [practice; WRITERS]);
    let writers: Vec<_> = writers.map(|practice| practice.write(dice.fork(), 20, &stop)).collect();
    let (goal, until) = watch::channel(i64::MAX);
    let habits = Habits { name: "ledger".to_owned(), window: 200, deaths: 0, expected: EXPECTED };
    let follower = follow(callers(&replicas, "books", None), habits, dice.fork(), until);

    for _ in 0..setting("CONCORD_KILLS", KILLS) {
        tokio::time::sleep(dice.millis(PAUSE_MS)).await;
        let killed = dice.below(count);
        replicas[killed].kill_and_start();
        replicas.iter_mut().for_each(Replica::revive);
    }
    replicas.iter_mut().for_each(Replica::wait_until_it_listens);
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    let feed = whole_feed(&callers(&replicas, "books", None)[0], ledger.count()).await;
    check_feed(&feed, &ledger, &practices.iter().collect::<Vec<_>>()).await;
    goal.send_replace(ledger.count());
    let told = follower.end().await;
    eprintln!("{ledger}, {} streams, {} duplicates", told.streams, told.duplicates);
    assert_eq!(told.feed, feed, "the subscriber heard what the feed holds");
    for replica in &replicas {
        assert!(!replica.log().contains("panicked"), "{}", replica.log());
    }
}

/// A product of a practice, or of all, at each replica.
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

/// The whole feed, once it holds at least so many changes, or does not for so long
/// that it never will.
pub(crate) async fn whole_feed(books: &Caller, count: i64) -> Vec<Heard> {
    let late = Instant::now() + SETTLED;
    let (mut stream, head) = loop {
        let stream = Listening::open(books, from_earliest()).await;
        let head = stream.handshake.head_position;
        if head >= count || Instant::now() > late {
            break (stream, head);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let mut feed = Vec::new();
    while stream.last < head {
        feed.extend(stream.events().await.into_iter().map(Heard::from));
    }
    feed
}
