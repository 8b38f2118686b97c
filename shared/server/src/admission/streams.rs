//! The limits of open server streams.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{limits::Limits, shares::Ratio};
use concord_core::{
    caller::{PracticeId, Product},
    status::ApiError,
};

/// The share of one practice in the streams of a product. A stream cannot be preempted, so
/// that this leaves more to others than the share of running calls.
pub(crate) const PRACTICE_SHARE: Ratio = Ratio::new(1, 2);

/// The retry delay of a rejected stream, whose predecessors may stay open for long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The owner of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum StreamKey {
    /// A stream of changes, of a product in one practice or in all practices.
    Product(Product, Option<PracticeId>),
    /// A stream about an import, of its practice.
    Practice(Option<PracticeId>),
}

/// The number of open streams, and their limits.
#[derive(Debug)]
pub(super) struct Streams {
    limits: Limits,
    open: Mutex<Open>,
}

/// The numbers of open streams. Owners without a stream are absent.
#[derive(Debug, Default)]
struct Open {
    all: u32,
    of_product: HashMap<Product, u32>,
    of: HashMap<StreamKey, u32>,
}

impl Streams {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, open: Mutex::default() }
    }

    /// Opens a stream.
    ///
    /// # Errors
    ///
    /// If a limit is reached: of the product, of the practice, or of the server.
    pub(super) fn open(self: &Arc<Self>, key: StreamKey) -> Result<StreamPermit, ApiError> {
        let Limits { streams, streams_of_product, streams_of_practice, .. } = self.limits;
        let mut open = self.count();
        let own = open.of.get(&key).copied().unwrap_or_default();
        match &key {
            StreamKey::Product(product, _) => {
                let of_product = open.of_product.get(product).copied().unwrap_or_default();
                let free = streams_of_product.saturating_sub(of_product);
                if free == 0 {
                    return Err(too_many("streams of the product", streams_of_product));
                }
                if !PRACTICE_SHARE.allows(own.into(), 1, free.into()) {
                    return Err(too_many("streams of the practice in the product", own));
                }
            }
            StreamKey::Practice(_) if own >= streams_of_practice => {
                return Err(too_many("streams of the practice", streams_of_practice));
            }
            StreamKey::Practice(_) => {}
        }
        if open.all >= streams {
            return Err(too_many("streams", streams));
        }
        open.all += 1;
        if let StreamKey::Product(product, _) = &key {
            *open.of_product.entry(product.clone()).or_default() += 1;
        }
        *open.of.entry(key.clone()).or_default() += 1;
        drop(open);
        Ok(StreamPermit { streams: Arc::clone(self), key })
    }

    fn close(&self, key: &StreamKey) {
        let mut open = self.count();
        open.all = open.all.saturating_sub(1);
        if let StreamKey::Product(product, _) = key {
            decrement(&mut open.of_product, product);
        }
        decrement(&mut open.of, key);
    }

    /// No code panics while it holds the lock, so a poisoned state is still correct.
    fn count(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decrement<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn too_many(quota: &str, limit: u32) -> ApiError {
    let message = format!(
        "{quota}: {limit} are already open at this replica; end one of them, or retry later"
    );
    ApiError::limit_reached(quota, message, RETRY_AFTER)
}

/// The permit of an open stream, released when it is dropped.
#[derive(Debug)]
pub(super) struct StreamPermit {
    streams: Arc<Streams>,
    key: StreamKey,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.streams.close(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;
    use tonic_types::StatusExt as _;

    use super::*;

    fn streams(streams: u32, streams_of_product: u32) -> Arc<Streams> {
        let limits = Limits { streams, streams_of_product, ..Limits::default() };
        Arc::new(Streams::new(&limits))
    }

    fn key(practice: &str, product: &str) -> StreamKey {
        let practice = (!practice.is_empty()).then(|| practice.parse().unwrap());
        StreamKey::Product(product.parse().unwrap(), practice)
    }

    fn quota(error: ApiError) -> String {
        let details = Status::from(error).get_error_details();
        assert!(details.retry_info().unwrap().retry_delay.is_some());
        details.quota_failure().unwrap().violations[0].subject.clone()
    }

    #[test]
    fn streams_of_product_and_server_are_limited() {
        let streams = streams(5, 3);
        let open = |practice, product| streams.open(key(practice, product));
        let books = ["p1", "p2", "p3"].map(|practice| open(practice, "books").unwrap());
        assert_eq!(quota(open("p4", "books").unwrap_err()), "streams of the product");
        let ap = ["p1", ""].map(|practice| open(practice, "ap").unwrap());
        assert_eq!(quota(open("p2", "ap").unwrap_err()), "streams");
        drop(books);
        open("p3", "ap").unwrap();
        drop(ap);
        let count = streams.count();
        assert!(
            count.of.is_empty() && count.of_product.is_empty(),
            "owners without streams are removed"
        );
        assert_eq!(count.all, 0);
    }

    #[test]
    fn one_practice_leaves_streams_of_its_product_to_others() {
        let streams = streams(1_000, 250);
        let mut held = Vec::new();
        for (practice, expected) in [("p1", 83), ("p2", 56), ("", 37), ("p3", 25)] {
            let before = held.len();
            while let Ok(permit) = streams.open(key(practice, "books")) {
                held.push(permit);
            }
            assert_eq!(held.len() - before, expected, "{practice}");
            let refused = streams.open(key(practice, "books")).unwrap_err();
            assert_eq!(quota(refused), "streams of the practice in the product");
        }
        streams.open(key("p4", "books")).unwrap();
        streams.open(key("p1", "ap")).unwrap();
    }
}
