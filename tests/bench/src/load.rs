//! Closed-loop load: a constant number of calls in flight; a call starts when the one before
//! it has ended. Measures throughput; its latencies are those under full load.
//! [`mod@fixed_rate`] measures latencies.

mod fixed_rate;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

pub(crate) use fixed_rate::fixed_rate;

use crate::measure::{Sample, new_histogram};

/// A caller that generates load.
pub(crate) trait Worker: Clone + Send + 'static {
    /// Makes one call. An error aborts the measurement.
    fn call(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Runs all workers for `time`, each with one call in flight.
pub(crate) async fn closed_loop<W: Worker>(
    workers: &[W],
    time: Duration,
) -> anyhow::Result<Sample> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn(work(worker.clone(), started + time));
    }
    let mut latency = new_histogram()?;
    while let Some(worked) = tasks.join_next().await {
        latency.add(worked.context("a worker panicked")??)?;
    }
    Ok(Sample::new(latency, started.elapsed()))
}

async fn work<W: Worker>(mut worker: W, until: Instant) -> anyhow::Result<Histogram<u64>> {
    let mut latency = new_histogram()?;
    let mut begun = Instant::now();
    while begun < until {
        worker.call().await?;
        let ended = Instant::now();
        latency.saturating_record(micros(ended - begun));
        begun = ended;
    }
    Ok(latency)
}

/// The duration in whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
