//! Places for calls at work, and for those that wait for their turn.
//!
//! Both are shared by tenants: nobody takes all of the places, nor all of the queue.
//! A place that becomes free goes to the next tenant that waits and has not its share,
//! one call each in turn.

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
    ids,
    pb::records::ErrorReason,
    server::limits::{Limits, MAX_WAIT},
    shares::{Ratio, Sharer as _},
    status::Refusal,
};

/// A tenant that is alone works in all places but an eighth.
pub(in crate::server) const AT_WORK: Ratio = Ratio::new(7, 1);

/// A tenant that is alone takes half of the queue.
pub(in crate::server) const WAITING: Ratio = Ratio::EQUAL;

/// When a call comes again that found no place; up to twice that, or all of them
/// would come together.
pub(super) const COME_AGAIN: Duration = Duration::from_secs(1);

/// The places of one server.
#[derive(Debug)]
pub(super) struct Places {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Free places at work.
    free: u64,
    /// Free places of the queue.
    free_waiting: u64,
    /// Those with calls at work or in the queue.
    tenants: HashMap<Tenant, Calls>,
    /// What the tenants of each group have together.
    groups: HashMap<Tenant, Counts>,
    /// Those with calls in the queue; the first one is next.
    turns: VecDeque<Tenant>,
    next_id: u64,
}

/// How many calls of a group there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    at_work: u64,
    waiting: u64,
}

/// The calls of one tenant.
#[derive(Debug, Default)]
struct Calls {
    at_work: u64,
    /// By id; whoever waits longest is first.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            state: Mutex::new(State {
                free: limits.calls.max(1).into(),
                free_waiting: limits.waiting_calls.into(),
                tenants: HashMap::new(),
                groups: HashMap::new(),
                turns: VecDeque::new(),
                next_id: 0,
            }),
        }
    }

    /// Whether a call of the tenant that came now would be refused.
    pub(super) fn are_full_for(&self, tenant: &Tenant) -> bool {
        let state = self.lock();
        !state.has_place_for(tenant) && !state.has_turn_for(tenant)
    }

    /// A place at work: at once, or after some time.
    ///
    /// # Errors
    ///
    /// When too many wait already, when it takes too long, or when the caller's
    /// deadline passes meanwhile.
    pub(super) async fn wait(
        self: &Arc<Self>,
        tenant: &Tenant,
        deadline: &Deadline,
    ) -> Result<Place, Refusal> {
        let place = match self.enter(tenant)? {
            Entered::AtWork(place) => place,
            Entered::Waits(turn) => turn.comes(deadline).await?,
        };
        // It may have come to an end together with the waiting.
        if deadline.has_passed() { Err(not_begun()) } else { Ok(place) }
    }

    fn enter(self: &Arc<Self>, tenant: &Tenant) -> Result<Entered, Refusal> {
        let mut state = self.lock();
        let calls = state.tenants.get(tenant);
        // Not before those of its own that wait.
        if calls.is_none_or(|calls| calls.waiting.is_empty()) && state.has_place_for(tenant) {
            state.begin(tenant);
            drop(state);
            return Ok(Entered::AtWork(self.place(tenant)));
        }
        if !state.has_turn_for(tenant) {
            return Err(overloaded());
        }
        let (granted, comes) = oneshot::channel();
        let id = state.queue(tenant, granted);
        drop(state);
        let places = Arc::clone(self);
        Ok(Entered::Waits(Turn { places, tenant: tenant.clone(), id, comes, came: false }))
    }

    fn place(self: &Arc<Self>, tenant: &Tenant) -> Place {
        Place { places: Arc::clone(self), tenant: tenant.clone() }
    }

    /// Nothing panics while it is held, and the numbers are right in any case.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_place_for(&self, tenant: &Tenant) -> bool {
        let own = self.tenants.get(tenant).map_or(0, |calls| calls.at_work);
        let of_group = |group| self.groups.get(group).map_or(0, |counts| counts.at_work);
        let groups = tenant.groups().iter();
        AT_WORK.allows(own, 1, self.free)
            && groups.map(of_group).all(|all| AT_WORK.of_group().allows(all, 1, self.free))
    }

    fn has_turn_for(&self, tenant: &Tenant) -> bool {
        let own = self.tenants.get(tenant).map_or(0, |calls| calls.waiting.len());
        let own = u64::try_from(own).unwrap_or(u64::MAX);
        let of_group = |group| self.groups.get(group).map_or(0, |counts| counts.waiting);
        let (mut groups, free) = (tenant.groups().iter(), self.free_waiting);
        WAITING.allows(own, 1, free)
            && groups.all(|group| WAITING.of_group().allows(of_group(group), 1, free))
    }

    fn begin(&mut self, tenant: &Tenant) {
        self.free = self.free.saturating_sub(1);
        self.tenants.entry(tenant.clone()).or_default().at_work += 1;
        self.count(tenant, |counts| counts.at_work += 1);
    }

    /// Counts a change of a tenant for its groups.
    fn count(&mut self, tenant: &Tenant, change: impl Fn(&mut Counts)) {
        for group in tenant.groups() {
            let counts = self.groups.entry(group.clone()).or_default();
            change(counts);
            if *counts == Counts::default() {
                self.groups.remove(group);
            }
        }
    }

    fn queue(&mut self, tenant: &Tenant, granted: oneshot::Sender<()>) -> u64 {
        self.free_waiting = self.free_waiting.saturating_sub(1);
        self.next_id += 1;
        let calls = self.tenants.entry(tenant.clone()).or_default();
        if calls.waiting.is_empty() {
            self.turns.push_back(tenant.clone());
        }
        calls.waiting.push_back((self.next_id, granted));
        self.count(tenant, |counts| counts.waiting += 1);
        self.next_id
    }

    /// A call of the tenant is not at work any longer.
    fn end(&mut self, tenant: &Tenant) {
        self.free += 1;
        if let Some(calls) = self.tenants.get_mut(tenant) {
            calls.at_work = calls.at_work.saturating_sub(1);
        }
        self.count(tenant, |counts| counts.at_work = counts.at_work.saturating_sub(1));
        self.give_turns();
        self.forget(tenant);
    }

    /// Gives the free places to those who wait.
    fn give_turns(&mut self) {
        while let Some(tenant) = self.next_turn().and_then(|at| self.turns.remove(at)) {
            let Some(calls) = self.tenants.get_mut(&tenant) else { continue };
            let first = calls.waiting.pop_front();
            if !calls.waiting.is_empty() {
                self.turns.push_back(tenant.clone());
            }
            if let Some((_, granted)) = first {
                self.free_waiting += 1;
                self.count(&tenant, |counts| counts.waiting = counts.waiting.saturating_sub(1));
                self.begin(&tenant);
                // Whoever leaves the queue is not in it: this one still waits.
                let _ = granted.send(());
            }
        }
    }

    fn next_turn(&self) -> Option<usize> {
        self.turns.iter().position(|tenant| self.has_place_for(tenant))
    }

    /// A call does not wait any longer: it has left the queue, or, when it is not in it,
    /// the place that it was given.
    fn leave(&mut self, tenant: &Tenant, id: u64) {
        let Some(calls) = self.tenants.get_mut(tenant) else { return };
        let Some(at) = calls.waiting.iter().position(|(other, _)| *other == id) else {
            return self.end(tenant);
        };
        calls.waiting.remove(at);
        self.free_waiting += 1;
        if calls.waiting.is_empty() {
            self.turns.retain(|other| other != tenant);
        }
        self.count(tenant, |counts| counts.waiting = counts.waiting.saturating_sub(1));
        self.forget(tenant);
    }

    fn forget(&mut self, tenant: &Tenant) {
        let is_idle = |calls: &Calls| calls.at_work == 0 && calls.waiting.is_empty();
        if self.tenants.get(tenant).is_some_and(is_idle) {
            self.tenants.remove(tenant);
        }
    }
}

enum Entered {
    AtWork(Place),
    Waits(Turn),
}

/// The turn of a call that waits for it.
struct Turn {
    places: Arc<Places>,
    tenant: Tenant,
    id: u64,
    comes: oneshot::Receiver<()>,
    came: bool,
}

impl Turn {
    async fn comes(mut self, deadline: &Deadline) -> Result<Place, Refusal> {
        let until = deadline.or_earlier(Instant::now() + MAX_WAIT);
        match timeout_at(until, &mut self.comes).await {
            Ok(granted) => {
                self.came = true;
                granted.map_err(|closed| Refusal::internal(&closed))?;
                Ok(self.places.place(&self.tenant))
            }
            Err(_) if deadline.has_passed() => Err(not_begun()),
            Err(_) => Err(overloaded()),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.came {
            self.places.lock().leave(&self.tenant, self.id);
        }
    }
}

/// A place at work, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    tenant: Tenant,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().end(&self.tenant);
    }
}

/// The server has more to do than it can. Another replica may have less, which is
/// why this is no `RESOURCE_EXHAUSTED`.
pub(super) fn overloaded() -> Refusal {
    let spread = ids::new_uuid().as_bytes().last().copied().unwrap_or_default();
    let spread = COME_AGAIN * u32::from(spread) / 256;
    Refusal::new(
        Code::Unavailable,
        ErrorReason::Overloaded,
        "the service has too much to do just now; the call was not begun: send it again later",
    )
    .retry_after(COME_AGAIN + spread)
}

#[cfg(test)]
mod tests;
