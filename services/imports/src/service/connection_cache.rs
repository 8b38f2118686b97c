//! Checks whether the caller's product is connected to the practice. Caches the answer
//! of the records service.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use concord_core::{
    call_id::CallId,
    caller::{Caller, PracticeId, Product},
    status::ApiError,
};
use tokio::time::Instant;

use crate::{
    error::{ImportError, not_connected, records_unavailable},
    records_client::{CallError, CallErrorKind, RecordsClient, behalf_of_caller},
};

/// How long an answer stays fresh.
const CACHE_TTL: Duration = Duration::from_secs(10);

/// How long a stale answer is used while the records service does not answer, so that
/// uploads continue.
const STALE_TTL: Duration = Duration::from_hours(1);

/// Maximum number of cached entries. If the cache is full, stale entries are removed.
const MAX_ENTRIES: usize = 10_000;

/// When each product of each practice was last known to be connected.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionCache(Arc<Mutex<HashMap<(PracticeId, Product), Instant>>>);

impl ConnectionCache {
    /// The age of the entry.
    fn age(&self, caller: &Caller) -> Option<Duration> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(&(caller.practice.clone(), caller.product.clone())).map(Instant::elapsed)
    }

    fn update(&self, caller: &Caller, connected: bool) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (caller.practice.clone(), caller.product.clone());
        if connected {
            if entries.len() >= MAX_ENTRIES {
                entries.retain(|_, when| when.elapsed() < CACHE_TTL);
            }
            if entries.len() < MAX_ENTRIES {
                entries.insert(key, Instant::now());
            }
        } else {
            entries.remove(&key);
        }
    }

    /// Rejects a caller whose product is not connected to the practice; `call` is the
    /// call that is being handled.
    pub(super) async fn check_connected(
        &self,
        records: &RecordsClient,
        caller: &Caller,
        call: CallId,
    ) -> Result<(), ImportError> {
        let age = self.age(caller);
        if age.is_some_and(|age| age < CACHE_TTL) {
            return Ok(());
        }
        match records.connected_products(&behalf_of_caller(caller), call).await {
            Ok(connected) => {
                let is_connected = connected.iter().any(|name| name == caller.product.as_str());
                self.update(caller, is_connected);
                if is_connected {
                    Ok(())
                } else {
                    Err(not_connected(caller.product.as_str()).into())
                }
            }
            Err(_) if age.is_some_and(|age| age < STALE_TTL) => Ok(()),
            Err(error) => Err(call_failed(&error)),
        }
    }
}

fn call_failed(error: &CallError) -> ImportError {
    match error.kind {
        CallErrorKind::Transient | CallErrorKind::Unknown => {
            tracing::warn!(%error, "listing the connected products failed");
            records_unavailable().into()
        }
        CallErrorKind::InvalidRecord | CallErrorKind::Permanent | CallErrorKind::Fenced => {
            ApiError::internal(error).into()
        }
    }
}
