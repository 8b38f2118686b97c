//! A PostgreSQL that crashes and comes back, under writers and open streams: no
//! replica has to be started again, the streams go on, and whatever was answered
//! is in the feed.
//!
//! More crashes than the three:
//!
//! ```console
//! CONCORD_CRASHES=50 cargo test --release -p concord --test faults database
//! ```

use std::time::Duration;

use shared::testing::postgres_url;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::Cluster,
    kills::{callers, practices, whole_feed},
    replica::Replica,
    support::{
        dice::{Dice, setting},
        failure::Failure,
        follower::{Habits, follow},
        writing::{Ledger, check_feed},
    },
};

/// Crashes, unless `CONCORD_CRASHES` says otherwise.
const CRASHES: usize = 3;

/// How long the database is away the first time: longer than a call waits for it.
const LONG: Duration = Duration::from_secs(11);

/// How long it is away at the most the other times.
const SHORT_MS: usize = 1_500;

/// Writers without an answer for this long after its return hang.
const RECOVERY: Duration = Duration::from_mins(1);

/// All that callers meet when the database is away: the replicas stay up, and ask
/// for the call again.
const EXPECTED: &[Failure] = &[Failure::Later];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_and_comes_back_loses_nothing() {
    if postgres_url().is_none() {
        return;
    }
    let mut dice = Dice::of_this_run();
    let cluster = Cluster::start();
    let mut replicas: Vec<_> = (0..2).map(|_| Replica::start(cluster.url(), &mut dice)).collect();
    let ledger = Ledger::default();
    let practices = practices(&replicas, EXPECTED, &ledger).await;
    let stop = CancellationToken::new();
    let writers = practices.iter().flat_map(|practice| [practice; 2]);
    let writers: Vec<_> = writers.map(|practice| practice.write(dice.fork(), 20, &stop)).collect();
    let (goal, until) = watch::channel(i64::MAX);
    let books = callers(&replicas, "books", None);
    let followers = books.into_iter().enumerate().map(|(number, books)| {
        let name = format!("ledger-{number}");
        let habits = Habits { name, window: 200, deaths: 0, expected: EXPECTED };
        follow(vec![books], habits, dice.fork(), until.clone())
    });
    let followers: Vec<_> = followers.collect();

    for crash in 0..setting("CONCORD_CRASHES", CRASHES) {
        tokio::time::sleep(Duration::from_secs(1) + dice.millis(1_000)).await;
        cluster.crash();
        let away = if crash == 0 { LONG } else { dice.millis(SHORT_MS) };
        tokio::time::sleep(away).await;
        cluster.start_again();
        wait_for_writes(&ledger).await;
    }
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    let feed = whole_feed(&callers(&replicas, "books", None)[0], ledger.count()).await;
    check_feed(&feed, &ledger, &practices.iter().collect::<Vec<_>>()).await;
    goal.send_replace(ledger.count());
    for follower in followers {
        let told = follower.end().await;
        assert_eq!(told.feed, feed, "the subscriber heard what the feed holds");
        assert_eq!((told.streams, told.duplicates), (1, 0), "its stream has outlasted the crashes");
    }
    eprintln!("{ledger}");
    for replica in &mut replicas {
        assert!(!replica.has_ended(), "{}", replica.log());
        assert!(!replica.log().contains("panicked"), "{}", replica.log());
        assert!(!replica.log().contains("internal error"), "{}", replica.log());
    }
}

/// Writers are answered again.
async fn wait_for_writes(ledger: &Ledger) {
    let before = ledger.count();
    let answered = async {
        while ledger.count() < before + 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(RECOVERY, answered).await.expect("writes are answered again");
}
