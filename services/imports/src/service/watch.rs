//! `WatchImport`: polls the database, so that every replica can serve it, no matter
//! which replica processes the import.

use std::time::Duration;

use chrono::{DateTime, Utc};
use concord_core::{caller::Caller, status::ApiError};
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Imports, key};
use crate::{
    domain::{
        import::{ImportKey, ImportView},
        progress::Throughput,
    },
    error::ImportError,
};

/// Interval of polling.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Interval of updates while nothing changes.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// An import with its throughput.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) view: ImportView,
    pub(crate) per_second: f64,
    pub(crate) estimated_end: Option<DateTime<Utc>>,
}

type WatchUpdate = Result<Progress, ImportError>;

impl Imports {
    /// Streams the progress of an import until it has ended, the service stops, or the
    /// subscriber disconnects.
    pub(crate) async fn watch(
        &self,
        caller: &Caller,
        id: Uuid,
    ) -> Result<mpsc::Receiver<WatchUpdate>, ImportError> {
        let key = key(caller, id);
        let first = self.view(&key).await?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.clone().follow(key, first, sender).in_current_span());
        Ok(receiver)
    }

    async fn follow(
        self,
        key: ImportKey,
        first: ImportView,
        subscriber: mpsc::Sender<WatchUpdate>,
    ) {
        let started = Instant::now();
        let (mut view, mut throughput) = (first, Throughput::default());
        let mut sent: Option<(ImportView, Instant)> = None;
        loop {
            throughput.record(started.elapsed(), done(&view));
            let is_due = sent
                .as_ref()
                .is_none_or(|(before, at)| *before != view || at.elapsed() >= HEARTBEAT_INTERVAL);
            if is_due {
                if subscriber.send(Ok(self.progress(&view, &throughput))).await.is_err() {
                    return;
                }
                sent = Some((view.clone(), Instant::now()));
            }
            if view.import.state.is_end() {
                return;
            }
            tokio::select! {
                () = self.stop.cancelled() => {
                    let stopping = ApiError::unavailable("the service stops; watch again");
                    let _ = subscriber.send(Err(stopping.into())).await;
                    return;
                }
                () = subscriber.closed() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            view = match self.view(&key).await {
                Ok(view) => view,
                Err(error) => {
                    let _ = subscriber.send(Err(error)).await;
                    return;
                }
            };
        }
    }

    fn progress(&self, view: &ImportView, throughput: &Throughput) -> Progress {
        let ended = view.import.state.is_end();
        let left = throughput.estimate(view.counters.unprocessed(None)).filter(|_| !ended);
        let left = left.and_then(|left| chrono::Duration::from_std(left).ok());
        let estimated_end = left.and_then(|left| self.clock.now().checked_add_signed(left));
        Progress { view: view.clone(), per_second: throughput.per_second(), estimated_end }
    }
}

/// The number of records with a verdict.
fn done(view: &ImportView) -> i64 {
    view.counters.received(None) - view.counters.unprocessed(None)
}
