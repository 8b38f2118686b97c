//! The stream that holds a named subscription: the newest of its name.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use shared::{db::Scope, pb::records::ErrorReason, status::Refusal};
use tokio::{sync::watch, time::Instant};
use tonic::Code;
use uuid::Uuid;

use super::Feed;
use crate::{
    domain::{
        place::Place,
        subscription::{Subscription, SubscriptionKey},
        window::Window,
    },
    error::RecordError,
    store::{
        feed::{Spot, standing},
        subscriptions,
    },
};

/// A stream that has not said for so long that it stands is taken to be gone.
pub(super) const LEASE: TimeDelta = TimeDelta::seconds(45);

/// How often it says so.
const RENEWAL: Duration = Duration::from_secs(15);

/// How often it looks whether another replica has a newer stream.
const LOOK: Duration = Duration::from_secs(3);

/// How often it looks for an acknowledgement at another replica while it waits
/// for one.
const LOOK_WHEN_FULL: Duration = Duration::from_millis(200);

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The position of the event that was sent last.
    pub(super) delivered: i64,
    /// The position up to which everything was sent or left out.
    pub(super) seen: i64,
    /// The change there.
    pub(super) change: Option<Uuid>,
}

/// What a stream finds when it looks at its subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Kept,
    /// The progress could not be stored: the feed does not contain, or no longer
    /// contains, what the stream has sent.
    Elsewhere,
}

/// The newest stream of a subscription, as long as it is that.
#[derive(Debug)]
pub(crate) struct Session {
    feed: Feed,
    key: Arc<SubscriptionKey>,
    id: Uuid,
    number: i64,
    pub(super) window: Window,
    /// Wakes when the row was changed at this replica.
    changed: watch::Receiver<()>,
    written: Progress,
    written_at: Instant,
    looked_at: Instant,
    dirty: bool,
}

impl Session {
    pub(super) fn new(
        feed: Feed,
        row: &Subscription,
        (place, change): (&Place, Option<Uuid>),
        window: usize,
    ) -> Self {
        let key = Arc::new(row.key.clone());
        let now = Instant::now();
        Self {
            changed: feed.subscription_changes(&key),
            feed,
            key,
            id: row.id,
            number: row.session,
            window: Window::new(window),
            written: Progress { delivered: place.position, seen: place.position, change },
            written_at: now,
            looked_at: now,
            dirty: false,
        }
    }

    /// The subscription's id, for its cursors.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// The name of the subscription.
    pub(super) fn name(&self) -> &str {
        &self.key.name
    }

    /// The stream has come further.
    pub(super) fn moved(&mut self, progress: Progress) {
        self.dirty = progress != self.written;
    }

    /// Waits until it is time to [look](Self::look). May be given up.
    pub(super) async fn news(&mut self) {
        let look = if self.window.room() == 0 { LOOK_WHEN_FULL } else { LOOK };
        let write = if self.dirty { self.feed.pace().write } else { RENEWAL };
        let at = (self.looked_at + look).min(self.written_at + write);
        tokio::select! {
            Ok(()) = self.changed.changed() => {}
            () = tokio::time::sleep_until(at) => {}
        }
    }

    /// Looks whether the stream is still the newest, takes acknowledgements, and
    /// writes down how far it has come when it is time.
    ///
    /// # Errors
    ///
    /// `ABORTED` when a newer stream has begun, `NOT_FOUND` when the subscription
    /// was deleted.
    pub(super) async fn look(&mut self, progress: Progress) -> Result<Held, RecordError> {
        let write = if self.dirty { self.feed.pace().write } else { RENEWAL };
        let (row, held) = if self.written_at.elapsed() >= write {
            let written = self.write(progress, true).await?;
            (self.written, self.dirty, self.written_at) = (progress, false, Instant::now());
            written
        } else {
            (subscriptions::get(self.feed.db().reader(), &self.key).await?, Held::Kept)
        };
        self.looked_at = Instant::now();
        let row = self.own(row)?;
        self.window.acknowledged(row.acked.position);
        Ok(held)
    }

    fn own(&self, row: Option<Subscription>) -> Result<Subscription, RecordError> {
        match row {
            None => Err(Refusal::not_found("subscription", &self.key.name).into()),
            Some(row) if row.session != self.number || row.id != self.id => {
                Err(taken_over(&self.key.name).into())
            }
            Some(row) => Ok(row),
        }
    }

    /// Writes down how far the stream has come, when it is the newest; the row.
    ///
    /// A position is stored only in the history that it belongs to: the changes
    /// filtered out up to it count as acknowledged, and another history has other
    /// changes there.
    async fn write(
        &self,
        progress: Progress,
        stands: bool,
    ) -> Result<(Option<Subscription>, Held), RecordError> {
        let (key, id, number) = (Arc::clone(&self.key), self.id, self.number);
        let clock = self.feed.inner.clock.clone();
        let write = self.feed.db().write(Scope::AllPractices, move |tx| {
            let (key, now) = (Arc::clone(&key), clock.now());
            async move {
                let Some(mut row) = subscriptions::lock(&*tx, &key).await? else {
                    return Ok((None, Held::Kept));
                };
                let mut held = Held::Kept;
                if row.id == id && row.session == number {
                    let found = standing(&*tx, &key.product, Spot::At(progress.seen)).await?;
                    if found.is_some_and(|found| found.has(progress.change)) {
                        (row.delivered, row.seen) = (progress.delivered, progress.seen);
                        row.pass_what_was_left_out();
                    } else {
                        held = Held::Elsewhere;
                    }
                    row.active_until = stands.then(|| now + LEASE);
                    subscriptions::update(&*tx, &row).await?;
                }
                Ok::<_, RecordError>((Some(row), held))
            }
        });
        write.await
    }

    /// The stream has ended.
    pub(super) async fn end(self, progress: Progress) {
        if let Err(error) = self.write(progress, false).await {
            // The lease runs out by itself.
            tracing::debug!(%error, "the end of a stream could not be written down");
        }
    }
}

fn taken_over(name: &str) -> Refusal {
    Refusal::new(
        Code::Aborted,
        ErrorReason::SubscriptionTakenOver,
        "a newer stream of this subscription has begun; a second reader needs a name of its own",
    )
    .with("subscription", name)
}
