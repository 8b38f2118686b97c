//! The change feed: from pending changes to the streams of subscribers.
//!
//! [`sequencer`] gives positions after the commit, [`tail`] reads each
//! product's new positions once for all of its subscribers, [`subscriber`] is
//! one stream, and [`cursor`] is what it resumes with.

pub(crate) mod cursor;
pub(crate) mod sequencer;
pub(crate) mod subscriber;
pub(crate) mod tail;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use shared::{caller::Product, clock::Clock, db::Database};
use tail::Tail;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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
    sequenced: tokio::sync::watch::Sender<()>,
    tails: Mutex<HashMap<Product, Weak<Tail>>>,
    stop: CancellationToken,
}

impl Feed {
    pub(crate) fn new(db: Database, clock: Clock, stop: CancellationToken) -> Self {
        let inner = Inner {
            db,
            clock,
            pending: Notify::new(),
            sequenced: tokio::sync::watch::Sender::new(()),
            tails: Mutex::new(HashMap::new()),
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

    pub(crate) fn db(&self) -> &Database {
        &self.inner.db
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.inner.stop
    }
}
