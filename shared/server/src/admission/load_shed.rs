//! Load shedding: rejects calls before authentication while their tenant has used up its
//! share of the permits and of the queue.
//!
//! A rejection must cost much less than a call, or an overloaded server would be busy with
//! rejections. The tenant is identified by the hash of credentials that were authenticated
//! and rejected a moment ago. Other credentials pass, so that no tenant is rejected because
//! of another one.

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
    concurrency_limit::{ConcurrencyLimit, overloaded},
    error_response,
    tenant::Tenant,
};
use crate::rejection_log::RejectionLog;
use concord_core::caller::{PRACTICE_HEADER, PRODUCT_HEADER, ROLES_HEADER};
use concord_proto::rpc::rpc_of_path;

/// The maximum number of entries of [`OverloadedTenants`].
const MAX_ENTRIES: usize = 1_024;

/// The tenants whose calls were rejected by the concurrency limit, by their credentials.
#[derive(Debug, Default)]
pub(super) struct OverloadedTenants {
    hasher: RandomState,
    tenants: Mutex<HashMap<Credentials, Tenant>>,
    /// There is an entry: a call without overload does not compute a hash.
    has_entries: AtomicBool,
}

/// A hash of the headers that identify the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Credentials(u64);

impl OverloadedTenants {
    fn credentials(&self, headers: &HeaderMap) -> Credentials {
        let mut hasher = self.hasher.build_hasher();
        for name in [AUTHORIZATION.as_str(), PRACTICE_HEADER, PRODUCT_HEADER, ROLES_HEADER] {
            headers.get(name).map(http::HeaderValue::as_bytes).hash(&mut hasher);
        }
        Credentials(hasher.finish())
    }

    /// Adds the tenant of a rejected call.
    pub(super) fn insert(&self, headers: &HeaderMap, tenant: Tenant) {
        let credentials = self.credentials(headers);
        let mut tenants = self.lock();
        if tenants.len() >= MAX_ENTRIES {
            tenants.clear();
        }
        tenants.insert(credentials, tenant);
        self.has_entries.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if a call with these headers would be rejected. Removes the entry of a
    /// tenant that is no longer overloaded.
    fn rejects(&self, headers: &HeaderMap, limit: &ConcurrencyLimit) -> bool {
        if !self.has_entries.load(Ordering::Relaxed) {
            return false;
        }
        let credentials = self.credentials(headers);
        let mut tenants = self.lock();
        let Some(tenant) = tenants.get(&credentials) else { return false };
        let is_full = limit.is_full_for(tenant);
        if !is_full {
            tenants.remove(&credentials);
            self.has_entries.store(!tenants.is_empty(), Ordering::Relaxed);
        }
        is_full
    }

    #[cfg(test)]
    pub(super) fn tenants(&self) -> Vec<Tenant> {
        self.lock().values().cloned().collect()
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<Credentials, Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layer of [`LoadShed`].
#[derive(Clone, Debug)]
pub(crate) struct LoadShedLayer {
    admission: Arc<Admission>,
    rejections: Arc<RejectionLog>,
}

impl LoadShedLayer {
    pub(crate) fn new(admission: Arc<Admission>) -> Self {
        Self { admission, rejections: Arc::new(RejectionLog::new("calls")) }
    }
}

impl<S> Layer<S> for LoadShedLayer {
    type Service = LoadShed<S>;

    fn layer(&self, inner: S) -> LoadShed<S> {
        let Self { admission, rejections } = self.clone();
        LoadShed { inner, admission, rejections }
    }
}

/// A service that sheds the calls of overloaded tenants. Health and reflection pass.
#[derive(Clone, Debug)]
pub(crate) struct LoadShed<S> {
    inner: S,
    admission: Arc<Admission>,
    rejections: Arc<RejectionLog>,
}

impl<S, R> Service<http::Request<R>> for LoadShed<S>
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
        let Admission { overloaded: tenants, concurrency, .. } = &*self.admission;
        let is_call = rpc_of_path(request.uri().path()).is_some();
        if is_call && tenants.rejects(request.headers(), concurrency) {
            self.rejections.record();
            return Either::Right(ready(Ok(error_response(overloaded()))));
        }
        Either::Left(self.inner.call(request))
    }
}
