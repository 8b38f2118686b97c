//! The concurrency limit: permits for running calls, and a bounded queue for the calls
//! that wait for one.
//!
//! Tenants share both fairly: no tenant takes all permits or the whole queue. A permit
//! that is released goes to the next waiting tenant below its share, in round-robin order,
//! one call each.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tonic::Code;

use super::{
    deadline::{Deadline, not_begun},
    tenant::Tenant,
};
use crate::{
    connections::random_part,
    limits::{Limits, MAX_WAIT},
    shares::{Ratio, Sharer as _},
};
use concord_core::status::ApiError;
use concord_proto::pb::records::ErrorReason;

/// The share of running calls. A sole tenant gets seven eighths of the permits.
pub(crate) const RUNNING_SHARE: Ratio = Ratio::new(7, 1);

/// The share of the queue. A sole tenant gets half of it.
pub(crate) const QUEUED_SHARE: Ratio = Ratio::EQUAL;

/// The minimum retry delay of a rejected call. [`overloaded`] adds jitter up to the same
/// amount.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The permits and the queue of one server.
#[derive(Debug)]
pub(super) struct ConcurrencyLimit {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Free permits.
    free: u64,
    /// Free slots of the queue.
    free_queued: u64,
    /// Tenants with running or queued calls.
    tenants: HashMap<Tenant, Calls>,
    /// The calls of all tenants of each group.
    groups: HashMap<Tenant, Counts>,
    /// Tenants with queued calls, in round-robin order.
    turns: VecDeque<Tenant>,
    next_id: u64,
}

/// The numbers of calls of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    running: u64,
    queued: u64,
}

/// The calls of one tenant.
#[derive(Debug, Default)]
struct Calls {
    running: u64,
    /// Queued calls by id, the oldest first.
    queued: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl ConcurrencyLimit {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            state: Mutex::new(State {
                free: limits.calls.max(1).into(),
                free_queued: limits.waiting_calls.into(),
                tenants: HashMap::new(),
                groups: HashMap::new(),
                turns: VecDeque::new(),
                next_id: 0,
            }),
        }
    }

    /// Returns `true` if a new call of the tenant would be rejected.
    pub(super) fn is_full_for(&self, tenant: &Tenant) -> bool {
        let state = self.lock();
        !state.may_run(tenant) && !state.may_queue(tenant)
    }

    /// Acquires a permit, and waits in the queue if none is free.
    ///
    /// # Errors
    ///
    /// If the queue is full, the wait exceeds [`MAX_WAIT`], or the deadline of the call
    /// passes.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        tenant: &Tenant,
        deadline: &Deadline,
    ) -> Result<Permit, ApiError> {
        let permit = match self.enter(tenant)? {
            Entered::Running(permit) => permit,
            Entered::Queued(call) => call.granted(deadline).await?,
        };
        // The deadline may pass at the same time.
        if deadline.has_passed() { Err(not_begun()) } else { Ok(permit) }
    }

    fn enter(self: &Arc<Self>, tenant: &Tenant) -> Result<Entered, ApiError> {
        let mut state = self.lock();
        let calls = state.tenants.get(tenant);
        // A new call does not overtake the queued calls of its tenant.
        if calls.is_none_or(|calls| calls.queued.is_empty()) && state.may_run(tenant) {
            state.start(tenant);
            drop(state);
            return Ok(Entered::Running(self.permit(tenant)));
        }
        if !state.may_queue(tenant) {
            return Err(overloaded());
        }
        let (grant, granted) = oneshot::channel();
        let id = state.queue(tenant, grant);
        drop(state);
        let (limit, tenant) = (Arc::clone(self), tenant.clone());
        Ok(Entered::Queued(QueuedCall { limit, tenant, id, granted, is_granted: false }))
    }

    fn permit(self: &Arc<Self>, tenant: &Tenant) -> Permit {
        Permit { limit: Arc::clone(self), tenant: tenant.clone() }
    }

    /// No code panics while it holds the lock, so a poisoned state is still correct.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_run(&self, tenant: &Tenant) -> bool {
        let own = self.tenants.get(tenant).map_or(0, |calls| calls.running);
        let of_group = |group| self.groups.get(group).map_or(0, |counts| counts.running);
        let groups = tenant.groups().iter();
        RUNNING_SHARE.allows(own, 1, self.free)
            && groups.map(of_group).all(|all| RUNNING_SHARE.of_group().allows(all, 1, self.free))
    }

    fn may_queue(&self, tenant: &Tenant) -> bool {
        let own = self.tenants.get(tenant).map_or(0, |calls| calls.queued.len());
        let own = u64::try_from(own).unwrap_or(u64::MAX);
        let of_group = |group| self.groups.get(group).map_or(0, |counts| counts.queued);
        let (mut groups, free) = (tenant.groups().iter(), self.free_queued);
        QUEUED_SHARE.allows(own, 1, free)
            && groups.all(|group| QUEUED_SHARE.of_group().allows(of_group(group), 1, free))
    }

    fn start(&mut self, tenant: &Tenant) {
        self.free = self.free.saturating_sub(1);
        self.tenants.entry(tenant.clone()).or_default().running += 1;
        self.count(tenant, |counts| counts.running += 1);
    }

    /// Applies a change of a tenant's counts to its groups.
    fn count(&mut self, tenant: &Tenant, change: impl Fn(&mut Counts)) {
        for group in tenant.groups() {
            let counts = self.groups.entry(group.clone()).or_default();
            change(counts);
            if *counts == Counts::default() {
                self.groups.remove(group);
            }
        }
    }

    fn queue(&mut self, tenant: &Tenant, grant: oneshot::Sender<()>) -> u64 {
        self.free_queued = self.free_queued.saturating_sub(1);
        self.next_id += 1;
        let calls = self.tenants.entry(tenant.clone()).or_default();
        if calls.queued.is_empty() {
            self.turns.push_back(tenant.clone());
        }
        calls.queued.push_back((self.next_id, grant));
        self.count(tenant, |counts| counts.queued += 1);
        self.next_id
    }

    /// Releases the permit of a call, and grants the free permits to queued calls.
    fn release(&mut self, tenant: &Tenant) {
        self.free += 1;
        if let Some(calls) = self.tenants.get_mut(tenant) {
            calls.running = calls.running.saturating_sub(1);
        }
        self.count(tenant, |counts| counts.running = counts.running.saturating_sub(1));
        self.grant_permits();
        self.remove_if_idle(tenant);
    }

    /// Grants the free permits to queued calls.
    fn grant_permits(&mut self) {
        while let Some(tenant) = self.next_tenant().and_then(|at| self.turns.remove(at)) {
            let Some(calls) = self.tenants.get_mut(&tenant) else { continue };
            let first = calls.queued.pop_front();
            if !calls.queued.is_empty() {
                self.turns.push_back(tenant.clone());
            }
            if let Some((_, grant)) = first {
                self.free_queued += 1;
                self.count(&tenant, |counts| counts.queued = counts.queued.saturating_sub(1));
                self.start(&tenant);
                // The receiver exists: a call removes itself from the queue when it is dropped.
                let _ = grant.send(());
            }
        }
    }

    fn next_tenant(&self) -> Option<usize> {
        self.turns.iter().position(|tenant| self.may_run(tenant))
    }

    /// Removes a call that no longer waits from the queue; or releases the permit that was
    /// granted to it in the meantime.
    fn abandon(&mut self, tenant: &Tenant, id: u64) {
        let Some(calls) = self.tenants.get_mut(tenant) else { return };
        let Some(at) = calls.queued.iter().position(|(other, _)| *other == id) else {
            return self.release(tenant);
        };
        calls.queued.remove(at);
        self.free_queued += 1;
        if calls.queued.is_empty() {
            self.turns.retain(|other| other != tenant);
        }
        self.count(tenant, |counts| counts.queued = counts.queued.saturating_sub(1));
        self.remove_if_idle(tenant);
    }

    fn remove_if_idle(&mut self, tenant: &Tenant) {
        let is_idle = |calls: &Calls| calls.running == 0 && calls.queued.is_empty();
        if self.tenants.get(tenant).is_some_and(is_idle) {
            self.tenants.remove(tenant);
        }
    }
}

enum Entered {
    Running(Permit),
    Queued(QueuedCall),
}

/// A call in the queue, removed from it when this is dropped.
struct QueuedCall {
    limit: Arc<ConcurrencyLimit>,
    tenant: Tenant,
    id: u64,
    granted: oneshot::Receiver<()>,
    is_granted: bool,
}

impl QueuedCall {
    /// Waits for the permit.
    async fn granted(mut self, deadline: &Deadline) -> Result<Permit, ApiError> {
        let until = deadline.or_earlier(Instant::now() + MAX_WAIT);
        match timeout_at(until, &mut self.granted).await {
            Ok(granted) => {
                self.is_granted = true;
                granted.map_err(|closed| ApiError::internal(&closed))?;
                Ok(self.limit.permit(&self.tenant))
            }
            Err(_) if deadline.has_passed() => Err(not_begun()),
            Err(_) => Err(overloaded()),
        }
    }
}

impl Drop for QueuedCall {
    fn drop(&mut self) {
        if !self.is_granted {
            self.limit.lock().abandon(&self.tenant, self.id);
        }
    }
}

/// Permission to run one call, released when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    limit: Arc<ConcurrencyLimit>,
    tenant: Tenant,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limit.lock().release(&self.tenant);
    }
}

/// The error of a call that is rejected by load shedding. It is `UNAVAILABLE`, because
/// another replica may have capacity.
pub(super) fn overloaded() -> ApiError {
    ApiError::new(
        Code::Unavailable,
        ErrorReason::Overloaded,
        "the service is overloaded; the call was not started: retry it later",
    )
    .retry_after(RETRY_AFTER + random_part(RETRY_AFTER))
}

#[cfg(test)]
mod tests;
