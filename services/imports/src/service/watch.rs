//! `WatchImport`: looks at the database now and then, so that any replica can
//! tell, whichever of them works on the import.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::{caller::Caller, status::Refusal};
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Imports, key};
use crate::{
    domain::{
        import::{ImportKey, ImportView},
        progress::Pace,
    },
    error::ImportError,
};

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often to tell that nothing has changed.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// An import as it is, and how fast it goes.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) view: ImportView,
    pub(crate) per_second: f64,
    pub(crate) estimated_end: Option<DateTime<Utc>>,
}

type Told = Result<Progress, ImportError>;

impl Imports {
    /// Tells of an import until it has ended, the service stops, or nobody
    /// listens any more.
    pub(crate) async fn watch(
        &self,
        caller: &Caller,
        id: Uuid,
    ) -> Result<mpsc::Receiver<Told>, ImportError> {
        let key = key(caller, id);
        let first = self.view(&key).await?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.clone().follow(key, first, sender).in_current_span());
        Ok(receiver)
    }

    async fn follow(self, key: ImportKey, first: ImportView, listener: mpsc::Sender<Told>) {
        let started = Instant::now();
        let (mut view, mut pace) = (first, Pace::default());
        let mut told: Option<(ImportView, Instant)> = None;
        loop {
            pace.note(started.elapsed(), done(&view));
            let news = told
                .as_ref()
                .is_none_or(|(before, at)| *before != view || at.elapsed() >= TELL_EVERY);
            if news {
                if listener.send(Ok(self.progress(&view, &pace))).await.is_err() {
                    return;
                }
                told = Some((view.clone(), Instant::now()));
            }
            if view.import.state.is_end() {
                return;
            }
            tokio::select! {
                () = self.stop.cancelled() => {
                    let stopping = Refusal::unavailable("the service stops; watch again");
                    let _ = listener.send(Err(stopping.into())).await;
                    return;
                }
                () = listener.closed() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            view = match self.view(&key).await {
                Ok(view) => view,
                Err(error) => {
                    let _ = listener.send(Err(error)).await;
                    return;
                }
            };
        }
    }

    fn progress(&self, view: &ImportView, pace: &Pace) -> Progress {
        let ended = view.import.state.is_end();
        let left = pace.time_for(view.tally.unprocessed(None)).filter(|_| !ended);
        let left = left.and_then(|left| chrono::Duration::from_std(left).ok());
        let estimated_end = left.and_then(|left| self.clock.now().checked_add_signed(left));
        Progress { view: view.clone(), per_second: pace.per_second(), estimated_end }
    }
}

/// The records that have their verdict.
fn done(view: &ImportView) -> i64 {
    view.tally.received(None) - view.tally.unprocessed(None)
}
