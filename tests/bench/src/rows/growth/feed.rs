//! The feed of a world: one product that hears of all practices.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use shared::pb::records::StartFrom;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{calls, world::World};
use crate::{
    feed::{self, Changes},
    load::micros,
    measure::new_histogram,
};

/// Changes a second while events are timed.
pub(super) const STEADY: u64 = 100;
/// How long the last change may take to be heard.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long events take from the answer of their change, while changes go on for
/// `time`.
pub(super) async fn hear(world: &mut World, time: Duration) -> anyhow::Result<Histogram<u64>> {
    world.sequenced().await?;
    let stream = world.subscriber().await?.subscribe(StartFrom::Now).await?;
    let changes = usize::try_from(time.as_millis())? * usize::try_from(STEADY)? / 1_000;
    let listening = tokio::spawn(collect(stream, changes));
    let answered = change(world, changes).await?;
    let heard =
        timeout(PATIENCE, listening).await.context("changes were not heard in time")???;
    let mut latency = new_histogram()?;
    for (change, at) in answered {
        let heard = heard.get(&change).context("a change was not heard")?;
        // Nothing when it was here before its answer.
        latency.saturating_record(micros(heard.saturating_duration_since(at)));
    }
    Ok(latency)
}

/// Makes so many changes at the steady rate; tells when each was answered.
async fn change(world: &mut World, count: usize) -> anyhow::Result<Vec<(String, Instant)>> {
    let mut ticks = interval(Duration::from_micros(1_000_000 / STEADY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut answered = Vec::with_capacity(count);
    for _ in 0..count {
        ticks.tick().await;
        let change = calls::create(world).await?.change;
        answered.push((change, Instant::now()));
    }
    Ok(answered)
}

async fn collect(mut stream: Changes, count: usize) -> anyhow::Result<HashMap<String, Instant>> {
    let mut heard = HashMap::with_capacity(count);
    while heard.len() < count {
        let batch = feed::events(&mut stream).await?;
        let at = Instant::now();
        heard.extend(batch.events.into_iter().map(|event| (event.change_id, at)));
    }
    Ok(heard)
}

/// Events a second of a reader that has so many to catch up after a cursor.
pub(super) async fn catch_up(world: &World, cursor: &str, events: usize) -> anyhow::Result<f64> {
    let subscriber = world.subscriber().await?;
    let started = Instant::now();
    feed::read(&mut subscriber.go_on(cursor).await?, events).await?;
    #[expect(clippy::cast_precision_loss, reason = "events of seconds")]
    let events = events as f64;
    Ok(events / started.elapsed().as_secs_f64())
}
