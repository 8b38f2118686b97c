//! The tenants that have used up their share, identified by the hash of their credentials.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderMap, header::AUTHORIZATION};

use super::{concurrency_limit::ConcurrencyLimit, tenant::Tenant};
use concord_core::caller::{PRACTICE_HEADER, PRODUCT_HEADER, ROLES_HEADER};

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
    pub(super) fn rejects(&self, headers: &HeaderMap, limit: &ConcurrencyLimit) -> bool {
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
