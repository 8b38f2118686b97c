//! Load at a fixed rate: each call is due at a moment of a schedule, and is
//! measured from that moment, whenever it was sent.
//!
//! A closed loop sends nothing while a call hangs, and so leaves out the times
//! that the calls of others would have waited in the meantime.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::{
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::{JoinSet, spawn_blocking},
};

use super::{Worker, micros};
use crate::measure::new_histogram;

/// What calls at a fixed rate have shown.
#[derive(Debug)]
pub(crate) struct Paced {
    /// From the moment when a call was due to its answer.
    pub(crate) latency: Histogram<u64>,
    /// From that moment to when it was sent: late because all callers were busy,
    /// or because the machine was.
    pub(crate) lateness: Histogram<u64>,
    /// The rate that was kept.
    pub(crate) per_second: f64,
}

/// Makes so many calls a second for `time`, however long each takes: by whichever
/// worker is free.
pub(crate) async fn fixed_rate<W: Worker>(
    workers: &[W],
    per_second: f64,
    time: Duration,
) -> anyhow::Result<Paced> {
    let (due, calls) = unbounded_channel();
    let (calls, mut tasks) = (Arc::new(Mutex::new(calls)), JoinSet::new());
    for worker in workers {
        tasks.spawn(work(worker.clone(), Arc::clone(&calls)));
    }
    // Held by the workers alone: when one fails, the schedule ends too.
    drop(calls);
    let started = Instant::now();
    // A thread that sleeps is exact to a tenth of a millisecond, the runtime's
    // timer to a whole one.
    let schedule = spawn_blocking(move || announce(&due, started, per_second, time));
    let (mut latency, mut lateness) = (new_histogram()?, new_histogram()?);
    while let Some(worked) = tasks.join_next().await {
        let (answered, sent) = worked.context("a worker broke")??;
        latency.add(answered)?;
        lateness.add(sent)?;
    }
    let elapsed = started.elapsed();
    schedule.await.context("the schedule broke")?;
    #[expect(clippy::cast_precision_loss, reason = "calls of minutes")]
    let per_second = latency.len() as f64 / elapsed.as_secs_f64();
    Ok(Paced { latency, lateness, per_second })
}

/// Says of each call when it is due, and that not before.
fn announce(due: &UnboundedSender<Instant>, started: Instant, per_second: f64, time: Duration) {
    for number in 0_u32.. {
        let after = Duration::from_secs_f64(f64::from(number) / per_second);
        if after >= time {
            return;
        }
        thread::sleep((started + after).saturating_duration_since(Instant::now()));
        if due.send(started + after).is_err() {
            return;
        }
    }
}

/// Makes the calls that nobody else has taken.
async fn work<W: Worker>(
    mut worker: W,
    calls: Arc<Mutex<UnboundedReceiver<Instant>>>,
) -> anyhow::Result<(Histogram<u64>, Histogram<u64>)> {
    let (mut latency, mut lateness) = (new_histogram()?, new_histogram()?);
    loop {
        let due = calls.lock().await.recv().await;
        let Some(due) = due else { return Ok((latency, lateness)) };
        lateness.saturating_record(micros(due.elapsed()));
        worker.call().await?;
        latency.saturating_record(micros(due.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hangs in its first call.
    #[derive(Clone)]
    struct Hanging {
        first: Duration,
    }

    impl Worker for Hanging {
        async fn call(&mut self) -> anyhow::Result<()> {
            tokio::time::sleep(std::mem::take(&mut self.first)).await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_waits_behind_a_call_that_hangs_counts_its_wait() {
        let workers = [Hanging { first: Duration::from_millis(100) }];
        let paced = fixed_rate(&workers, 100.0, Duration::from_millis(200)).await.unwrap();
        assert_eq!(paced.latency.len(), 20);
        // Those that were due in the first half of its 100 ms.
        let long = paced.latency.count_between(50_000, u64::MAX);
        assert!(long >= 5, "{long} of 20 took long");
        assert_eq!(paced.lateness.len(), 20);
    }

    #[tokio::test]
    async fn a_failure_ends_the_schedule() {
        #[derive(Clone)]
        struct Failing;
        impl Worker for Failing {
            async fn call(&mut self) -> anyhow::Result<()> {
                anyhow::bail!("no")
            }
        }
        let begun = Instant::now();
        fixed_rate(&[Failing], 1_000.0, Duration::from_mins(1)).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
