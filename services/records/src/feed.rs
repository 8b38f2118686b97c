//! The change feed: delivers committed changes to the streams of subscribers.
//!
//! It is a transactional outbox: a write appends its changes to the pending rows in
//! its own transaction, and the feed delivers them, totally ordered for each product
//! and at least once. Positions let a subscriber deduplicate and detect gaps.
//!
//! - [`sequencer`] assigns positions after the commit.
//! - [`tail`] reads the new positions of a product once for all of its subscribers.
//! - [`opening`] resolves where a stream starts.
//! - [`subscriber`] is one stream.
//! - [`session`] is the state of a stream that belongs to a named subscription.
//! - [`cursor`] is the signed position that a stream resumes after.

pub(crate) mod cursor;
#[cfg(test)]
mod model;
pub(crate) mod opening;
pub(crate) mod sequencer;
mod session;
pub(crate) mod subscriber;
pub(crate) mod tail;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use concord_core::{caller::Product, clock::Clock};
use concord_db::Database;
use tail::Tail;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::subscription::SubscriptionKey;

/// The intervals of a stream's periodic tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamIntervals {
    /// Interval between heartbeats of an idle stream.
    pub(crate) heartbeat: Duration,
    /// Interval between checks that the product is still connected, and that the feed
    /// still has the history that the stream has sent.
    pub(crate) check: Duration,
    /// Delay between an event and the write of the stream's progress. Support tools show
    /// the progress with this delay.
    pub(crate) write: Duration,
}

impl StreamIntervals {
    pub(crate) const DEFAULT: Self = Self {
        heartbeat: Duration::from_secs(15),
        check: Duration::from_secs(10),
        write: Duration::from_secs(1),
    };
}

/// The state of the feed that one replica shares between its parts.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Database,
    clock: Clock,
    /// Wakes the sequencer after a commit at this replica.
    pending: Notify,
    /// Wakes the tails after positions were assigned, at this replica or another.
    sequenced: watch::Sender<()>,
    /// Wakes the streams of a subscription after a change at this replica.
    subscriptions: Mutex<HashMap<Arc<SubscriptionKey>, watch::Sender<()>>>,
    tails: Mutex<HashMap<Product, Weak<Tail>>>,
    intervals: StreamIntervals,
    stop: CancellationToken,
}

impl Feed {
    pub(crate) fn new(db: Database, clock: Clock, stop: CancellationToken) -> Self {
        Self::with_intervals(db, clock, stop, StreamIntervals::DEFAULT)
    }

    /// A feed whose streams run their periodic tasks at `intervals`.
    pub(crate) fn with_intervals(
        db: Database,
        clock: Clock,
        stop: CancellationToken,
        intervals: StreamIntervals,
    ) -> Self {
        let inner = Inner {
            db,
            clock,
            pending: Notify::new(),
            sequenced: watch::Sender::new(()),
            subscriptions: Mutex::new(HashMap::new()),
            tails: Mutex::new(HashMap::new()),
            intervals,
            stop,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Wakes the sequencer after a commit. Only a hint: the sequencer polls as well.
    pub(crate) fn notify_pending(&self) {
        self.inner.pending.notify_one();
    }

    /// The tail of a product's feed. Its subscribers share it; it stops when the last
    /// of them drops it.
    pub(crate) fn tail(&self, product: &Product) -> Arc<Tail> {
        let mut tails = self.inner.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.retain(|_, tail| tail.strong_count() > 0);
        if let Some(tail) = tails.get(product).and_then(Weak::upgrade) {
            return tail;
        }
        let tail = Tail::start(
            self.inner.db.clone(),
            product.clone(),
            self.inner.sequenced.subscribe(),
            &self.inner.stop,
        );
        tails.insert(product.clone(), Arc::downgrade(&tail));
        tail
    }

    /// A receiver that wakes when a subscription is changed at this replica.
    fn watch_subscription(&self, key: &Arc<SubscriptionKey>) -> watch::Receiver<()> {
        let subscriptions = self.inner.subscriptions.lock();
        let mut subscriptions = subscriptions.unwrap_or_else(PoisonError::into_inner);
        subscriptions.retain(|_, sender| sender.receiver_count() > 0);
        subscriptions.entry(Arc::clone(key)).or_default().subscribe()
    }

    /// Wakes the streams of a subscription after its row was changed.
    pub(crate) fn notify_subscription_changed(&self, key: &SubscriptionKey) {
        let subscriptions = self.inner.subscriptions.lock();
        let subscriptions = subscriptions.unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = subscriptions.get(key) {
            sender.send_replace(());
        }
    }

    pub(crate) fn db(&self) -> &Database {
        &self.inner.db
    }

    fn intervals(&self) -> StreamIntervals {
        self.inner.intervals
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.inner.stop
    }
}
