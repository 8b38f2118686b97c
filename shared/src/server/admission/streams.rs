//! Streams that are open.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tonic::body::Body;

use crate::{
    caller::{PracticeId, Product},
    server::limits::Limits,
    status::Refusal,
};

/// When to try again: a stream may go on for long, and another one may not.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// Whose stream it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum StreamKey {
    /// A stream of changes: a product's, whichever its practices are.
    Product(Product),
    /// A stream about an import: its practice's.
    Practice(Option<PracticeId>),
}

/// How many streams are open.
#[derive(Debug)]
pub(super) struct Streams {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: u32,
    /// Without those that have none.
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
        let (quota, limit) = match key {
            StreamKey::Product(_) => ("streams of the product", self.limits.streams_of_product),
            StreamKey::Practice(_) => ("streams of the practice", self.limits.streams_of_practice),
        };
        let mut open = self.count();
        if open.of.get(&key).is_some_and(|of_key| *of_key >= limit) || limit == 0 {
            return Err(too_many(quota, limit));
        }
        if open.all >= self.limits.streams {
            return Err(too_many("streams", self.limits.streams));
        }
        open.all += 1;
        *open.of.entry(key.clone()).or_default() += 1;
        drop(open);
        Ok(StreamPlace { streams: Arc::clone(self), key })
    }

    fn close(&self, key: &StreamKey) {
        let mut open = self.count();
        open.all = open.all.saturating_sub(1);
        if let Some(of_key) = open.of.get_mut(key) {
            *of_key = of_key.saturating_sub(1);
            if *of_key == 0 {
                open.of.remove(key);
            }
        }
    }

    /// Nothing panics while it is held, and the numbers are right in any case.
    fn count(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The same body, which keeps the place for as long as it is sent.
pub(super) fn holding(body: Body, place: Arc<StreamPlace>) -> Body {
    Body::new(Pin::new(Holding { body, _place: place }))
}

/// A pinned pointer to a body is a body: this one points to what it owns.
struct Holding {
    body: Body,
    _place: Arc<StreamPlace>,
}

impl Deref for Holding {
    type Target = Body;

    fn deref(&self) -> &Body {
        &self.body
    }
}

impl DerefMut for Holding {
    fn deref_mut(&mut self) -> &mut Body {
        &mut self.body
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

    fn product(name: &str) -> StreamKey {
        StreamKey::Product(name.parse().unwrap())
    }

    fn quota(refusal: Refusal) -> String {
        let details = Status::from(refusal).get_error_details();
        assert!(details.retry_info().unwrap().retry_delay.is_some());
        details.quota_failure().unwrap().violations[0].subject.clone()
    }

    #[test]
    fn a_product_and_a_server_have_so_many_streams_and_no_more() {
        let streams = streams(5, 3);
        let books: Vec<_> = (0..3).map(|_| streams.open(product("books")).unwrap()).collect();
        assert_eq!(quota(streams.open(product("books")).unwrap_err()), "streams of the product");
        let ap: Vec<_> = (0..2).map(|_| streams.open(product("ap")).unwrap()).collect();
        assert_eq!(quota(streams.open(product("ap")).unwrap_err()), "streams");
        drop(books);
        streams.open(product("ap")).unwrap();
        drop(ap);
        assert!(streams.count().of.is_empty(), "nothing is kept of those that have ended");
        assert_eq!(streams.count().all, 0);
    }
}
