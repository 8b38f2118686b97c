//! The feed of an instance: one product that subscribes to all practices.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use concord_proto::pb::records::StartFrom;
use hdrhistogram::Histogram;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{calls, instance::Instance};
use crate::{
    feed::{self, Changes},
    load::micros,
    measure::new_histogram,
};

/// Changes per second in the measurement of event latencies.
pub(super) const CHANGES_PER_SECOND: u64 = 100;
/// Timeout for the delivery of the last change.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The latency of events from the response of their change, with a constant rate of changes
/// for `time`.
pub(super) async fn event_latency(
    instance: &mut Instance,
    time: Duration,
) -> anyhow::Result<Histogram<u64>> {
    instance.sequenced().await?;
    let stream = instance.subscriber().await?.subscribe(StartFrom::Now).await?;
    let changes = usize::try_from(time.as_millis())? * usize::try_from(CHANGES_PER_SECOND)? / 1_000;
    let receiving = tokio::spawn(collect(stream, changes));
    let responses = change(instance, changes).await?;
    let received =
        timeout(TIMEOUT, receiving).await.context("changes were not delivered in time")???;
    let mut latency = new_histogram()?;
    for (change, at) in responses {
        let received = received.get(&change).context("a change was not delivered")?;
        // Zero if the event came before the response.
        latency.saturating_record(micros(received.saturating_duration_since(at)));
    }
    Ok(latency)
}

/// Makes changes at the constant rate. Returns the time of each response.
async fn change(instance: &mut Instance, count: usize) -> anyhow::Result<Vec<(String, Instant)>> {
    let mut ticks = interval(Duration::from_micros(1_000_000 / CHANGES_PER_SECOND));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut responses = Vec::with_capacity(count);
    for _ in 0..count {
        ticks.tick().await;
        let change = calls::create(instance).await?.change;
        responses.push((change, Instant::now()));
    }
    Ok(responses)
}

async fn collect(mut stream: Changes, count: usize) -> anyhow::Result<HashMap<String, Instant>> {
    let mut received = HashMap::with_capacity(count);
    while received.len() < count {
        let batch = feed::events(&mut stream).await?;
        let at = Instant::now();
        received.extend(batch.events.into_iter().map(|event| (event.change_id, at)));
    }
    Ok(received)
}

/// The rate, in events per second, of catching up after a cursor.
pub(super) async fn catch_up(
    instance: &Instance,
    cursor: &str,
    events: usize,
) -> anyhow::Result<f64> {
    let subscriber = instance.subscriber().await?;
    let started = Instant::now();
    feed::read(&mut subscriber.resume(cursor).await?, events).await?;
    #[expect(clippy::cast_precision_loss, reason = "events of seconds")]
    let events = events as f64;
    Ok(events / started.elapsed().as_secs_f64())
}
