//! Subscribers that are cut off at random moments: they miss nothing, and hear
//! again only what they had not acknowledged.
//!
//! Ten times as many cuts:
//!
//! ```console
//! CONCORD_CUTS=5000 cargo test --release --test it disconnects
//! ```

use shared::testing::{TestDb, storage_tests};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::support::{
    caller::Caller,
    dice::{Dice, setting},
    failure::Failure,
    feed::connect_all,
    follower::{Habits, follow},
    proxy::{Cut, Proxy},
    servers,
    writing::{Ledger, Practice, check_feed},
};

storage_tests! { subscribers_that_are_cut_off_miss_nothing }

/// Cuts on each engine, unless `CONCORD_CUTS` says otherwise.
const CUTS: usize = 500;

/// Subscribers that are cut off at the same time.
const SUBSCRIBERS: usize = 20;

/// Events that a subscriber lets be unacknowledged: the duplicates that it may
/// hear at once.
const WINDOW: i32 = 50;

/// The ends of streams that a subscriber behind a bad connection meets. A request
/// that was on its way when its connection was cut may take the subscription over
/// after the next one.
const EXPECTED: &[Failure] = &[Failure::Cut, Failure::TakenOver];

async fn subscribers_that_are_cut_off_miss_nothing(db: TestDb) {
    let mut dice = Dice::of_this_run();
    let server = servers::records(db.settings()).await;
    connect_all(&server, "p1", &["manager", "books"]).await;
    let ledger = Ledger::default();
    let manager = Caller::owner(server.channel().await, "p1", "manager");
    let practice = Practice::new("p1", vec![manager], EXPECTED, &ledger);
    let stop = CancellationToken::new();
    let writers: Vec<_> = (0..6).map(|_| practice.write(dice.fork(), 20, &stop)).collect();

    let (goal, until) = watch::channel(i64::MAX);
    let (mut followers, mut cutters) = (Vec::new(), Vec::new());
    let cuts = setting("CONCORD_CUTS", CUTS).div_ceil(SUBSCRIBERS);
    for number in 0..SUBSCRIBERS {
        let proxy = Proxy::start(&server.url).await;
        let books = Caller::owner(proxy.channel(), "p1", "books");
        let name = format!("ledger-{number}");
        let habits = Habits { name, window: WINDOW, deaths: 30, expected: EXPECTED };
        let follower = follow(vec![books], habits, dice.fork(), until.clone());
        cutters.push(cut(proxy, follower.streams.clone(), dice.fork(), cuts));
        followers.push(follower);
    }
    // The last connections stay until the end.
    let proxies = futures::future::join_all(cutters).await;
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    goal.send_replace(ledger.count());
    let mut duplicates = 0;
    for follower in followers {
        let told = follower.end().await;
        check_feed(&told.feed, &ledger, &[&practice]).await;
        assert!(told.streams > cuts / 2, "most cuts were of a stream that stood");
        duplicates += told.duplicates;
    }
    assert!(duplicates > 0, "the cuts came where it matters");
    drop(proxies);
    eprintln!("{ledger}, {duplicates} duplicates");
    server.stop().await;
}

/// Cuts the connections of a proxy so many times: most of them when a stream
/// stands, the others while one is being opened.
fn cut(
    proxy: Proxy,
    mut streams: watch::Receiver<usize>,
    mut dice: Dice,
    cuts: usize,
) -> JoinHandle<Proxy> {
    tokio::spawn(async move {
        let mut done = 0;
        while done < cuts {
            if dice.chance(80) {
                streams.changed().await.unwrap();
            }
            tokio::time::sleep(dice.millis(300)).await;
            let how = match dice.below(10) {
                0 => Cut::Silence,
                1..5 => Cut::Close,
                _ => Cut::Reset,
            };
            streams.mark_unchanged();
            done += usize::from(proxy.cut(how));
        }
        proxy
    })
}
