//! Whether the caller's product is connected to the practice, which the records
//! service knows: asked once in a while, and remembered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared::{
    call_id::CallId,
    caller::{Caller, PracticeId, Product},
    status::Refusal,
};
use tokio::time::Instant;

use super::Imports;
use crate::{
    error::{ImportError, not_connected, records_unavailable},
    records_client::{CallFault, FaultKind, behalf_of_caller},
};

/// How long an answer is taken for true.
const FRESH: Duration = Duration::from_secs(10);

/// How long it is, while the records service does not answer: an upload goes on
/// without it.
const WITHOUT_ANSWER: Duration = Duration::from_hours(1);

/// Products of practices that are remembered; those that were asked about longest ago
/// are forgotten.
const REMEMBERED: usize = 10_000;

/// When products were last seen to be connected.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenConnected(Arc<Mutex<HashMap<(PracticeId, Product), Instant>>>);

impl SeenConnected {
    /// How long ago that was.
    fn age(&self, caller: &Caller) -> Option<Duration> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&(caller.practice.clone(), caller.product.clone())).map(Instant::elapsed)
    }

    fn note(&self, caller: &Caller, connected: bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (caller.practice.clone(), caller.product.clone());
        if connected {
            if seen.len() >= REMEMBERED {
                seen.retain(|_, when| when.elapsed() < FRESH);
            }
            if seen.len() < REMEMBERED {
                seen.insert(key, Instant::now());
            }
        } else {
            seen.remove(&key);
        }
    }
}

impl Imports {
    /// Refuses a caller whose product is not connected to the practice, in answer to
    /// `call`.
    pub(crate) async fn check_connected(
        &self,
        caller: &Caller,
        call: CallId,
    ) -> Result<(), ImportError> {
        let age = self.seen_connected.age(caller);
        if age.is_some_and(|age| age < FRESH) {
            return Ok(());
        }
        match self.records.connected_products(&behalf_of_caller(caller), call).await {
            Ok(connected) => {
                let is_connected = connected.iter().any(|name| name == caller.product.as_str());
                self.seen_connected.note(caller, is_connected);
                if is_connected {
                    Ok(())
                } else {
                    Err(not_connected(caller.product.as_str()).into())
                }
            }
            Err(_) if age.is_some_and(|age| age < WITHOUT_ANSWER) => Ok(()),
            Err(fault) => Err(refused(&fault)),
        }
    }
}

fn refused(fault: &CallFault) -> ImportError {
    match fault.kind {
        FaultKind::Passing | FaultKind::Unclear => {
            tracing::warn!(%fault, "the connected products are not known");
            records_unavailable().into()
        }
        FaultKind::Poison | FaultKind::Lasting | FaultKind::Stale => {
            Refusal::internal(fault).into()
        }
    }
}
