//! The change feed: from pending changes to the streams of subscribers.
//!
//! [`sequencer`] gives positions after the commit, [`tail`] reads each
//! product's new positions once for all of its subscribers, [`opening`] finds
//! where a stream begins, [`subscriber`] is one stream, [`session`] what it has
//! beside when it belongs to a named subscription, and [`cursor`] is what it
//! resumes with.

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
};

use shared::{caller::Product, clock::Clock, db::Database};
use subscriber::Pace;
use tail::Tail;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::subscription::SubscriptionKey;

/// What the parts of the feed share in one replica.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Database,
    clock: Clock,
    /// A change was committed here, or another replica has sequenced some.
    pending: Notify,
    /// Positions were given, here or elsewhere.
    sequenced: watch::Sender<()>,
    /// Wakes the streams of a subscription that was changed here.
    subscriptions: Mutex<HashMap<Arc<SubscriptionKey>, watch::Sender<()>>>,
    tails: Mutex<HashMap<Product, Weak<Tail>>>,
    pace: Pace,
    stop: CancellationToken,
}

impl Feed {
    pub(crate) fn new(db: Database, clock: Clock, stop: CancellationToken) -> Self {
        Self::paced(db, clock, stop, Pace::USUAL)
    }

    /// A feed whose streams do their periodic checks at the intervals of `pace`.
    pub(crate) fn paced(db: Database, clock: Clock, stop: CancellationToken, pace: Pace) -> Self {
        let inner = Inner {
            db,
            clock,
            pending: Notify::new(),
            sequenced: watch::Sender::new(()),
            subscriptions: Mutex::new(HashMap::new()),
            tails: Mutex::new(HashMap::new()),
            pace,
            stop,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Wakes the sequencer: a change was committed. A hint only; it looks by
    /// itself now and then.
    pub(crate) fn changes_were_committed(&self) {
        self.inner.pending.notify_one();
    }

    /// The reader of a product's new positions, shared by its subscribers and
    /// gone with the last of them.
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

    /// Tells when a subscription is changed at this replica.
    fn subscription_changes(&self, key: &Arc<SubscriptionKey>) -> watch::Receiver<()> {
        let subscriptions = self.inner.subscriptions.lock();
        let mut subscriptions = subscriptions.unwrap_or_else(PoisonError::into_inner);
        subscriptions.retain(|_, sender| sender.receiver_count() > 0);
        subscriptions.entry(Arc::clone(key)).or_default().subscribe()
    }

    /// A subscription was changed: its streams look at it.
    pub(crate) fn subscription_has_changed(&self, key: &SubscriptionKey) {
        let subscriptions = self.inner.subscriptions.lock();
        let subscriptions = subscriptions.unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = subscriptions.get(key) {
            sender.send_replace(());
        }
    }

    pub(crate) fn db(&self) -> &Database {
        &self.inner.db
    }

    fn pace(&self) -> Pace {
        self.inner.pace
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.inner.stop
    }
}
