//! Streams that are open.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    caller::{PracticeId, Product},
    server::limits::Limits,
    shares::Ratio,
    status::Refusal,
};

/// What one practice may have of the streams of a product. A stream cannot be taken
/// back, so this leaves more to others than a share of places at work.
pub(in crate::server) const OF_PRACTICE: Ratio = Ratio::new(1, 2);

/// When to try again: a stream may go on for long, and another one may not.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// Whose stream it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum StreamKey {
    /// A stream of changes: a product's, in one of its practices or in all of them.
    Product(Product, Option<PracticeId>),
    /// A stream about an import: its practice's.
    Practice(Option<PracticeId>),
}

/// How many streams are open.
#[derive(Debug)]
pub(super) struct Streams {
    limits: Limits,
    open: Mutex<Open>,
}

/// Without those that have none.
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

    /// A place for one more stream.
    ///
    /// # Errors
    ///
    /// When there are too many, of its product or practice or of all.
    pub(super) fn open(self: &Arc<Self>, key: StreamKey) -> Result<StreamPlace, Refusal> {
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
                if !OF_PRACTICE.allows(own.into(), 1, free.into()) {
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
        Ok(StreamPlace { streams: Arc::clone(self), key })
    }

    fn close(&self, key: &StreamKey) {
        let mut open = self.count();
        open.all = open.all.saturating_sub(1);
        if let StreamKey::Product(product, _) = key {
            one_less(&mut open.of_product, product);
        }
        one_less(&mut open.of, key);
    }

    /// Nothing panics while it is held, and the numbers are right in any case.
    fn count(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn too_many(quota: &str, limit: u32) -> Refusal {
    let message = format!(
        "{quota}: {limit} are open at this replica already; end one of them, or try again later"
    );
    Refusal::limit_reached(quota, message, COME_AGAIN)
}

/// The place of an open stream, free again when this is dropped.
#[derive(Debug)]
pub(super) struct StreamPlace {
    streams: Arc<Streams>,
    key: StreamKey,
}

impl Drop for StreamPlace {
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

    fn quota(refusal: Refusal) -> String {
        let details = Status::from(refusal).get_error_details();
        assert!(details.retry_info().unwrap().retry_delay.is_some());
        details.quota_failure().unwrap().violations[0].subject.clone()
    }

    #[test]
    fn a_product_and_a_server_have_so_many_streams_and_no_more() {
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
        assert!(count.of.is_empty() && count.of_product.is_empty(), "nothing is kept");
        assert_eq!(count.all, 0);
    }

    #[test]
    fn one_practice_leaves_streams_of_its_product_to_others() {
        let streams = streams(1_000, 250);
        let mut held = Vec::new();
        for (practice, expected) in [("p1", 83), ("p2", 56), ("", 37), ("p3", 25)] {
            let before = held.len();
            while let Ok(place) = streams.open(key(practice, "books")) {
                held.push(place);
            }
            assert_eq!(held.len() - before, expected, "{practice}");
            let refused = streams.open(key(practice, "books")).unwrap_err();
            assert_eq!(quota(refused), "streams of the practice in the product");
        }
        streams.open(key("p4", "books")).unwrap();
        streams.open(key("p1", "ap")).unwrap();
    }
}
