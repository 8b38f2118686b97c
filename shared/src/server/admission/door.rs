//! Turns calls away at once while their tenant has its share of the places and of the
//! queue.
//!
//! A refusal must cost much less than a call, or refusing is what the server would
//! be busy with. So this comes before credentials are looked at: it knows the tenant by
//! credentials that were checked, and refused, a moment ago. Whoever shows others is let
//! through, so nobody is refused because of what somebody else does.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::future::{Either, Ready, ready};
use http::{HeaderMap, header::AUTHORIZATION};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{
    Admission,
    places::{Places, overloaded},
    refused,
    tenant::Tenant,
};
use crate::{
    access::rpc_of_path,
    caller::{PRACTICE_HEADER, PRODUCT_HEADER, ROLES_HEADER},
    server::turned_away::TurnedAway,
};

/// Credentials that are known at a time.
const MAX_KNOWN: usize = 1_024;

/// The tenants of credentials that were refused for want of room.
#[derive(Debug, Default)]
pub(super) struct Known {
    hasher: RandomState,
    tenants: Mutex<HashMap<Credentials, Tenant>>,
    any: AtomicBool,
}

/// A digest of the headers that say whose call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Credentials(u64);

impl Known {
    fn credentials(&self, headers: &HeaderMap) -> Credentials {
        let mut hasher = self.hasher.build_hasher();
        for name in [AUTHORIZATION.as_str(), PRACTICE_HEADER, PRODUCT_HEADER, ROLES_HEADER] {
            headers.get(name).map(http::HeaderValue::as_bytes).hash(&mut hasher);
        }
        Credentials(hasher.finish())
    }

    /// Remembers whose call was refused.
    pub(super) fn keep(&self, headers: &HeaderMap, tenant: Tenant) {
        let credentials = self.credentials(headers);
        let mut tenants = self.lock();
        if tenants.len() >= MAX_KNOWN {
            tenants.clear();
        }
        tenants.insert(credentials, tenant);
        self.any.store(true, Ordering::Relaxed);
    }

    /// Whether a call with these headers would find no room.
    fn refuses(&self, headers: &HeaderMap, places: &Places) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let credentials = self.credentials(headers);
        let mut tenants = self.lock();
        let Some(tenant) = tenants.get(&credentials) else { return false };
        let is_full = places.are_full_for(tenant);
        if !is_full {
            tenants.remove(&credentials);
            self.any.store(!tenants.is_empty(), Ordering::Relaxed);
        }
        is_full
    }

    #[cfg(test)]
    pub(super) fn tenants(&self) -> Vec<Tenant> {
        self.lock().values().cloned().collect()
    }

    /// Nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, HashMap<Credentials, Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a [`Door`] before a service.
#[derive(Clone, Debug)]
pub(in crate::server) struct DoorLayer {
    admission: Arc<Admission>,
    turned_away: Arc<TurnedAway>,
}

impl DoorLayer {
    pub(in crate::server) fn new(admission: Arc<Admission>) -> Self {
        Self { admission, turned_away: Arc::new(TurnedAway::new("calls")) }
    }
}

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Door<S> {
        let Self { admission, turned_away } = self.clone();
        Door { inner, admission, turned_away }
    }
}

/// A service that looks whether there is room before anything else. Health and
/// reflection are let through.
#[derive(Clone, Debug)]
pub(in crate::server) struct Door<S> {
    inner: S,
    admission: Arc<Admission>,
    turned_away: Arc<TurnedAway>,
}

impl<S, R> Service<http::Request<R>> for Door<S>
where
    S: Service<http::Request<R>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Self::Response, Self::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<R>) -> Self::Future {
        let Admission { known, places, .. } = &*self.admission;
        let is_call = rpc_of_path(request.uri().path()).is_some();
        if is_call && known.refuses(request.headers(), places) {
            self.turned_away.one_more();
            return Either::Right(ready(Ok(refused(overloaded()))));
        }
        Either::Left(self.inner.call(request))
    }
}
