//! Subscribers that are disconnected at random times. They lose no event, and only
//! unacknowledged events are redelivered.
//!
//! To run ten times as many disconnects:
//!
//! ```console
//! CONCORD_CUTS=5000 cargo test --release -p concord-records --test it disconnects
//! ```

use concord_testing::{TestDb, storage_tests};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use concord_testing::e2e::{
    caller::Caller,
    failure::Failure,
    feed::connect_all,
    follower::{FollowerConfig, follow},
    proxy::{Disconnect, Proxy},
    rng::{SeededRng, setting},
    servers,
    writing::{Ledger, Practice, check_feed},
};

storage_tests! { disconnected_subscribers_lose_no_events }

/// Disconnects on each database, unless `CONCORD_CUTS` says otherwise.
const DISCONNECTS: usize = 500;

/// Subscribers that are disconnected concurrently.
const SUBSCRIBERS: usize = 20;

/// The maximum number of unacknowledged events of a subscriber, and so of redelivered
/// events after one disconnect.
const WINDOW: i32 = 50;

/// The failures that a subscriber behind a bad connection gets. A request that was in
/// transit when its connection broke may take over the subscription after the next one.
const EXPECTED: &[Failure] = &[Failure::ConnectionLost, Failure::TakenOver];

async fn disconnected_subscribers_lose_no_events(db: TestDb) {
    let mut rng = SeededRng::from_env();
    let server = servers::records(db.settings()).await;
    connect_all(&server, "p1", &["manager", "books"]).await;
    let ledger = Ledger::default();
    let manager = server.owner("p1", "manager").await;
    let practice = Practice::new("p1", vec![manager], EXPECTED, &ledger);
    let stop = CancellationToken::new();
    let writers: Vec<_> = (0..6).map(|_| practice.write(rng.fork(), 20, &stop)).collect();

    let (goal, until) = watch::channel(i64::MAX);
    let (mut followers, mut disconnecters) = (Vec::new(), Vec::new());
    let disconnects = setting("CONCORD_CUTS", DISCONNECTS).div_ceil(SUBSCRIBERS);
    for number in 0..SUBSCRIBERS {
        let proxy = Proxy::start(&server.url).await;
        let books = Caller::owner(proxy.channel(), "p1", "books");
        let name = format!("ledger-{number}");
        let config = FollowerConfig { name, window: WINDOW, crash_percent: 30, expected: EXPECTED };
        let follower = follow(vec![books], config, rng.fork(), until.clone());
        disconnecters.push(disconnect_repeatedly(
            proxy,
            follower.streams.clone(),
            rng.fork(),
            disconnects,
        ));
        followers.push(follower);
    }
    // The last connections stay open until the end.
    let proxies = futures::future::join_all(disconnecters).await;
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    goal.send_replace(ledger.count());
    let mut duplicates = 0;
    for follower in followers {
        let report = follower.end().await;
        check_feed(&report.feed, &ledger, &[&practice]).await;
        assert!(report.streams > disconnects / 2, "most disconnects hit an open stream");
        duplicates += report.duplicates;
    }
    assert!(duplicates > 0, "some disconnects caused redelivery");
    drop(proxies);
    eprintln!("{ledger}, {duplicates} duplicates");
    server.stop().await;
}

/// Breaks the connections of a proxy `disconnects` times: most of them while a stream is
/// open, the others while one is being opened.
fn disconnect_repeatedly(
    proxy: Proxy,
    mut streams: watch::Receiver<usize>,
    mut rng: SeededRng,
    disconnects: usize,
) -> JoinHandle<Proxy> {
    tokio::spawn(async move {
        let mut done = 0;
        while done < disconnects {
            if rng.chance(80) {
                streams.changed().await.unwrap();
            }
            tokio::time::sleep(rng.millis(300)).await;
            let how = match rng.below(10) {
                0 => Disconnect::Blackhole,
                1..5 => Disconnect::Close,
                _ => Disconnect::Reset,
            };
            streams.mark_unchanged();
            done += usize::from(proxy.disconnect(how));
        }
        proxy
    })
}
