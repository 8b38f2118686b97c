//! The session of a named subscription: the state of its newest stream.
//!
//! A session holds a lease on the subscription's row. A newer stream of the same name
//! takes the subscription over, and the older one ends with `ABORTED`.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use concord_core::status::ApiError;
use concord_db::TenantScope;
use concord_proto::pb::records::ErrorReason;
use tokio::{sync::watch, time::Instant};
use tonic::Code;
use uuid::Uuid;

use super::Feed;
use crate::{
    domain::{
        resume_point::ResumePoint,
        subscription::{Subscription, SubscriptionKey},
        window::Window,
    },
    error::RecordError,
    store::{
        feed::{SeekTarget, seek},
        subscriptions,
    },
};

/// Duration of the lease. A stream that has not renewed its lease for this long counts
/// as closed.
pub(super) const LEASE: TimeDelta = TimeDelta::seconds(45);

/// Interval between renewals of the lease.
const LEASE_RENEWAL_INTERVAL: Duration = Duration::from_secs(15);

/// Interval between polls for a newer stream at another replica.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// Interval between polls for an acknowledgement at another replica while the window
/// is full.
const POLL_INTERVAL_WHEN_FULL: Duration = Duration::from_millis(200);

/// The progress of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The position of the last event that was sent.
    pub(super) delivered: i64,
    /// The position up to which every change was sent or filtered out.
    pub(super) seen: i64,
    /// The change at `seen`.
    pub(super) change: Option<Uuid>,
}

/// Whether the feed still contains what the stream has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HistoryCheck {
    Same,
    /// The progress was not stored: the feed does not contain, or no longer retains, what
    /// the stream has sent.
    Replaced,
}

/// The state of the newest stream of a subscription.
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
    polled_at: Instant,
    dirty: bool,
}

impl Session {
    pub(super) fn new(
        feed: Feed,
        row: &Subscription,
        (resume_point, change): (&ResumePoint, Option<Uuid>),
        window: usize,
    ) -> Self {
        let key = Arc::new(row.key.clone());
        let now = Instant::now();
        Self {
            changed: feed.watch_subscription(&key),
            feed,
            key,
            id: row.id,
            number: row.session,
            window: Window::new(window),
            written: Progress {
                delivered: resume_point.position,
                seen: resume_point.position,
                change,
            },
            written_at: now,
            polled_at: now,
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

    /// Records the progress of the stream, to be stored by a later [`poll`](Self::poll).
    pub(super) fn advance(&mut self, progress: Progress) {
        self.dirty = progress != self.written;
    }

    /// Waits until it is time to [`poll`](Self::poll). Cancel safe.
    pub(super) async fn wait_for_wake(&mut self) {
        let poll = if self.window.room() == 0 { POLL_INTERVAL_WHEN_FULL } else { POLL_INTERVAL };
        let write = if self.dirty { self.feed.intervals().write } else { LEASE_RENEWAL_INTERVAL };
        let at = (self.polled_at + poll).min(self.written_at + write);
        tokio::select! {
            Ok(()) = self.changed.changed() => {}
            () = tokio::time::sleep_until(at) => {}
        }
    }

    /// Checks that the stream is still the newest, reads acknowledgements, and stores
    /// the progress and renews the lease when that is due.
    ///
    /// # Errors
    ///
    /// `ABORTED` if a newer stream has started, `NOT_FOUND` if the subscription was
    /// deleted.
    pub(super) async fn poll(&mut self, progress: Progress) -> Result<HistoryCheck, RecordError> {
        let write = if self.dirty { self.feed.intervals().write } else { LEASE_RENEWAL_INTERVAL };
        let (row, history) = if self.written_at.elapsed() >= write {
            let written = self.write(progress, true).await?;
            (self.written, self.dirty, self.written_at) = (progress, false, Instant::now());
            written
        } else {
            (subscriptions::get(self.feed.db().reader(), &self.key).await?, HistoryCheck::Same)
        };
        self.polled_at = Instant::now();
        let row = self.check_newest(row)?;
        self.window.acknowledged(row.acked.position);
        Ok(history)
    }

    fn check_newest(&self, row: Option<Subscription>) -> Result<Subscription, RecordError> {
        match row {
            None => Err(ApiError::not_found("subscription", &self.key.name).into()),
            Some(row) if row.session != self.number || row.id != self.id => {
                Err(taken_over(&self.key.name).into())
            }
            Some(row) => Ok(row),
        }
    }

    /// Stores the progress and the lease if the stream is still the newest. Returns the
    /// row.
    ///
    /// The progress is stored only if the feed has the same history: the changes that
    /// were filtered out up to a position count as acknowledged, and another history has
    /// other changes there.
    async fn write(
        &self,
        progress: Progress,
        is_open: bool,
    ) -> Result<(Option<Subscription>, HistoryCheck), RecordError> {
        let (key, id, number) = (Arc::clone(&self.key), self.id, self.number);
        let clock = self.feed.inner.clock.clone();
        let write = self.feed.db().write(TenantScope::AllPractices, move |tx| {
            let (key, now) = (Arc::clone(&key), clock.now());
            async move {
                let Some(mut row) = subscriptions::lock(&*tx, &key).await? else {
                    return Ok((None, HistoryCheck::Same));
                };
                let mut history = HistoryCheck::Same;
                if row.id == id && row.session == number {
                    let found = seek(&*tx, &key.product, SeekTarget::At(progress.seen)).await?;
                    if found.is_some_and(|found| found.has(progress.change)) {
                        (row.delivered, row.seen) = (progress.delivered, progress.seen);
                        row.skip_filtered();
                    } else {
                        history = HistoryCheck::Replaced;
                    }
                    row.active_until = is_open.then(|| now + LEASE);
                    subscriptions::update(&*tx, &row).await?;
                }
                Ok::<_, RecordError>((Some(row), history))
            }
        });
        write.await
    }

    /// Stores the last progress and releases the lease, after the stream has ended.
    pub(super) async fn end(self, progress: Progress) {
        if let Err(error) = self.write(progress, false).await {
            // The lease expires without it.
            let subscription = self.key.name.as_str();
            tracing::debug!(%error, subscription, "releasing the lease of a subscription failed");
        }
    }
}

fn taken_over(name: &str) -> ApiError {
    ApiError::new(
        Code::Aborted,
        ErrorReason::SubscriptionTakenOver,
        "a newer stream of this subscription has begun; a second reader needs a name of its own",
    )
    .with("subscription", name)
}
