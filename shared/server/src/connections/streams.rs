//! The streams of a connection: the number of open ones, and their deadlines.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

tokio::task_local! {
    /// The deadline of the stream that the task serves.
    static DEADLINE: StreamDeadline;
}

/// Spawns a task for each stream of one connection, and counts the open ones.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamTasks(Arc<Mutex<Activity>>);

#[derive(Debug, Default)]
struct Activity {
    open: u32,
    /// When the last stream ended.
    last_end: Option<Instant>,
}

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let open = self.open();
        let deadline = StreamDeadline::default();
        tokio::spawn(async move {
            let _open = open;
            // A stream that is dropped before its end is reset (CANCEL), and what the
            // transport has buffered of it is discarded.
            tokio::select! {
                () = DEADLINE.scope(deadline.clone(), stream) => {}
                () = deadline.passed() => tracing::debug!("stream reset: its deadline passed"),
            }
        });
    }
}

impl StreamTasks {
    /// Completes when no stream has been open for `time`, counted from now.
    pub(super) async fn idle(&self, time: Duration) {
        let from = Instant::now();
        loop {
            let now = Instant::now();
            let quiet_until = match *self.lock() {
                Activity { open: 0, last_end } => last_end.map_or(from, |end| end.max(from)) + time,
                Activity { .. } => now + time,
            };
            if quiet_until <= now {
                return;
            }
            sleep_until(quiet_until).await;
        }
    }

    fn open(&self) -> OpenStream {
        self.lock().open += 1;
        OpenStream(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Activity> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open stream, counted until it is dropped.
#[derive(Debug)]
struct OpenStream(StreamTasks);

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut activity = self.0.lock();
        activity.open = activity.open.saturating_sub(1);
        activity.last_end = Some(Instant::now());
    }
}

/// The deadline of a stream, at which it is reset; initially none.
///
/// A body cannot end itself: while the client's flow-control window is empty, hyper does
/// not poll it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamDeadline(Arc<Deadline>);

#[derive(Debug, Default)]
struct Deadline {
    at: Mutex<Option<Instant>>,
    changed: Notify,
}

impl StreamDeadline {
    /// The deadline of the stream that the current task serves. Outside of such a task
    /// it has no effect.
    pub(super) fn current() -> Self {
        DEADLINE.try_with(Clone::clone).unwrap_or_default()
    }

    /// Sets, moves or removes the deadline.
    pub(crate) fn set(&self, at: Option<Instant>) {
        *self.0.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
        self.0.changed.notify_one();
    }

    #[cfg(test)]
    pub(crate) fn at(&self) -> Option<Instant> {
        *self.0.at.lock().unwrap()
    }

    async fn passed(&self) {
        loop {
            let at = *self.0.at.lock().unwrap_or_else(PoisonError::into_inner);
            let due = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = due => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::{self, error::TryRecvError};

    use super::*;

    const SHORT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn idle_counts_from_the_end_of_the_last_stream() {
        let tasks = StreamTasks::default();
        let started = Instant::now();
        let (end, ended) = oneshot::channel::<()>();
        tasks.execute(async {
            let _ = ended.await;
        });
        let idle = tokio::spawn({
            let tasks = tasks.clone();
            async move { tasks.idle(SHORT).await }
        });
        tokio::time::sleep(SHORT * 5).await;
        assert!(!idle.is_finished(), "a stream is open");
        end.send(()).unwrap();
        idle.await.unwrap();
        assert!(started.elapsed() >= SHORT * 6);
        let again = Instant::now();
        tasks.idle(SHORT).await;
        assert!(again.elapsed() >= SHORT, "counted from now");
    }

    #[tokio::test]
    async fn stream_is_dropped_at_its_deadline_which_can_move() {
        let (held, mut dropped) = oneshot::channel::<()>();
        let (sender, deadline) = oneshot::channel();
        StreamTasks::default().execute(async move {
            let _held = held;
            sender.send(StreamDeadline::current()).unwrap();
            std::future::pending::<()>().await;
        });
        let deadline = deadline.await.unwrap();
        deadline.set(Some(Instant::now() + Duration::from_hours(1)));
        deadline.set(None);
        tokio::time::sleep(SHORT).await;
        assert_eq!(dropped.try_recv(), Err(TryRecvError::Empty), "it has no deadline");
        deadline.set(Some(Instant::now() + Duration::from_hours(1)));
        // The task waits for the deadline in an hour.
        tokio::time::sleep(SHORT).await;
        deadline.set(Some(Instant::now() + SHORT));
        assert!(dropped.await.is_err());
    }
}
