//! Open-loop load at a fixed rate. The latency of a call is measured from its scheduled time,
//! also if it is sent later.
//!
//! A closed loop sends nothing while a call hangs, and so omits the wait of other calls
//! (coordinated omission).

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

/// The result of a load at a fixed rate.
#[derive(Debug)]
pub(crate) struct Paced {
    /// From the scheduled time of a call to its response.
    pub(crate) latency: Histogram<u64>,
    /// From the scheduled time to the sending of the call. Late if all workers, or the
    /// machine, were busy.
    pub(crate) lateness: Histogram<u64>,
    /// The achieved rate.
    pub(crate) per_second: f64,
}

/// Makes `per_second` calls a second for `time`, independent of their duration. Any free
/// worker makes a call.
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
    // Only the workers keep the receiver: the schedule ends if they fail.
    drop(calls);
    let started = Instant::now();
    // A sleeping thread is exact to 0.1 ms, the timer of the runtime to 1 ms.
    let schedule = spawn_blocking(move || schedule(&due, started, per_second, time));
    let (mut latency, mut lateness) = (new_histogram()?, new_histogram()?);
    while let Some(worked) = tasks.join_next().await {
        let (answered, sent) = worked.context("a worker panicked")??;
        latency.add(answered)?;
        lateness.add(sent)?;
    }
    let elapsed = started.elapsed();
    schedule.await.context("the schedule panicked")?;
    #[expect(clippy::cast_precision_loss, reason = "calls of minutes")]
    let per_second = latency.len() as f64 / elapsed.as_secs_f64();
    Ok(Paced { latency, lateness, per_second })
}

/// Sends the scheduled time of each call when it is due.
fn schedule(due: &UnboundedSender<Instant>, started: Instant, per_second: f64, time: Duration) {
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

/// Takes due calls from the queue and makes them.
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

    /// A worker whose first call hangs.
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
    async fn latency_includes_the_wait_behind_a_hanging_call() {
        let workers = [Hanging { first: Duration::from_millis(100) }];
        let paced = fixed_rate(&workers, 100.0, Duration::from_millis(200)).await.unwrap();
        assert_eq!(paced.latency.len(), 20);
        // The calls that were due in the first half of the 100 ms.
        let long = paced.latency.count_between(50_000, u64::MAX);
        assert!(long >= 5, "{long} of 20 took long");
        assert_eq!(paced.lateness.len(), 20);
    }

    #[tokio::test]
    async fn failing_worker_ends_the_schedule() {
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
