//! PostgreSQL crashes and recovers under writers and open streams: replicas need no restart,
//! streams stay open, and every acknowledged write is in the feed.
//!
//! To run more than three crashes:
//!
//! ```console
//! CONCORD_CRASHES=50 cargo test --release -p concord --test faults database
//! ```

use std::time::Duration;

use concord_testing::postgres_url;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    kills::{callers, practices, whole_feed},
    postgres_server::PostgresServer,
    replica::Replica,
};
use concord_testing::e2e::{
    failure::Failure,
    follower::{FollowerConfig, follow},
    rng::{SeededRng, setting},
    writing::{Ledger, check_feed},
};

/// The default number of crashes; `CONCORD_CRASHES` overrides it.
const CRASHES: usize = 3;

/// The first outage: longer than a call waits for the database.
const LONG_OUTAGE: Duration = Duration::from_secs(11);

/// The maximum of the other outages.
const MAX_OUTAGE_MS: usize = 1_500;

/// The timeout for successful writes after the recovery.
const RECOVERY: Duration = Duration::from_mins(1);

/// The errors of callers during an outage: replicas stay up, and ask for a retry.
const EXPECTED: &[Failure] = &[Failure::Retryable];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_crash_loses_no_acknowledged_write() {
    if postgres_url().is_none() {
        return;
    }
    let mut rng = SeededRng::from_env();
    let postgres = PostgresServer::start();
    let mut replicas: Vec<_> = (0..2).map(|_| Replica::start(postgres.url(), &mut rng)).collect();
    let ledger = Ledger::default();
    let practices = practices(&replicas, EXPECTED, &ledger).await;
    let stop = CancellationToken::new();
    let writers = practices.iter().flat_map(|practice| [practice; 2]);
    let writers: Vec<_> = writers.map(|practice| practice.write(rng.fork(), 20, &stop)).collect();
    let (goal, until) = watch::channel(i64::MAX);
    let books = callers(&replicas, "books", None);
    let followers = books.into_iter().enumerate().map(|(number, books)| {
        let name = format!("ledger-{number}");
        let config = FollowerConfig { name, window: 200, crash_percent: 0, expected: EXPECTED };
        follow(vec![books], config, rng.fork(), until.clone())
    });
    let followers: Vec<_> = followers.collect();

    for crash in 0..setting("CONCORD_CRASHES", CRASHES) {
        tokio::time::sleep(Duration::from_secs(1) + rng.millis(1_000)).await;
        postgres.crash();
        let outage = if crash == 0 { LONG_OUTAGE } else { rng.millis(MAX_OUTAGE_MS) };
        tokio::time::sleep(outage).await;
        postgres.restart();
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
        let report = follower.end().await;
        assert_eq!(report.feed, feed, "the subscriber received the whole feed");
        assert_eq!((report.streams, report.duplicates), (1, 0), "the stream survived the crashes");
    }
    eprintln!("{ledger}");
    for replica in &mut replicas {
        assert!(!replica.has_ended(), "{}", replica.log());
        replica.check_log();
    }
}

/// Waits until writes succeed again.
async fn wait_for_writes(ledger: &Ledger) {
    let before = ledger.count();
    let answered = async {
        while ledger.count() < before + 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(RECOVERY, answered).await.expect("writes succeed again");
}
