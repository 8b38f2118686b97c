use proptest::prelude::*;

use super::*;
use crate::admission::tests::identity;

fn tenant(number: usize) -> Tenant {
    Tenant::of(&identity(&format!("p{number}"), "books"))
}

fn limit(calls: u32, waiting_calls: u32) -> Arc<ConcurrencyLimit> {
    Arc::new(ConcurrencyLimit::new(&Limits { calls, waiting_calls, ..Limits::default() }))
}

/// Starts calls until one does not run at once.
fn fill(limit: &Arc<ConcurrencyLimit>, tenant: &Tenant) -> (Vec<Permit>, Option<QueuedCall>) {
    let mut running = Vec::new();
    loop {
        match limit.enter(tenant) {
            Ok(Entered::Running(permit)) => running.push(permit),
            Ok(Entered::Queued(call)) => return (running, Some(call)),
            Err(_) => return (running, None),
        }
    }
}

/// Queues calls of the tenant until one is rejected.
fn queue(limit: &Arc<ConcurrencyLimit>, tenant: &Tenant) -> Vec<QueuedCall> {
    let enter = || match limit.enter(tenant) {
        Ok(Entered::Queued(call)) => Some(call),
        Ok(Entered::Running(_)) => panic!("a permit is free"),
        Err(_) => None,
    };
    std::iter::from_fn(enter).collect()
}

fn is_granted(call: &mut QueuedCall) -> bool {
    call.granted.try_recv().is_ok()
}

#[test]
fn sole_tenant_gets_all_permits_but_the_reserve() {
    let limit = limit(64, 256);
    let (running, first_queued) = fill(&limit, &tenant(1));
    assert_eq!(running.len(), 56);
    let more = queue(&limit, &tenant(1));
    assert_eq!(more.len() + 1, 128, "and half of the queue");
    assert!(limit.is_full_for(&tenant(1)) && !limit.is_full_for(&tenant(2)));
    assert!(matches!(limit.enter(&tenant(2)), Ok(Entered::Running(_))));
    drop((running, first_queued, more));
    let state = limit.lock();
    assert_eq!((state.free, state.free_queued), (64, 256));
    assert!(state.tenants.is_empty() && state.turns.is_empty(), "idle tenants are removed");
    assert!(state.groups.is_empty());
}

#[test]
fn group_of_tenants_leaves_permits_to_others() {
    let products = |number: usize| Tenant::of(&identity("p1", &format!("product{number}")));
    let tenants: [&dyn Fn(usize) -> Tenant; 2] = [&products, &tenant];
    for tenant in tenants {
        let limit = limit(64, 256);
        let mut held = Vec::new();
        for number in 1..50 {
            held.push(fill(&limit, &tenant(number)));
        }
        let other = Tenant::of(&identity("another", "ledger"));
        let (running, first_queued) = fill(&limit, &other);
        assert!(
            !running.is_empty() && first_queued.is_some(),
            "another tenant gets a permit, and may queue"
        );
        drop((held, running, first_queued));
        assert!(limit.lock().groups.is_empty());
    }
}

#[test]
fn permits_are_granted_round_robin_oldest_call_first() {
    let limit = limit(2, 64);
    let (mut running, first) = fill(&limit, &tenant(1));
    assert_eq!(running.len(), 2);
    let mut queued: Vec<(usize, QueuedCall)> = vec![(1, first.unwrap())];
    for number in [1, 1, 2, 3, 2] {
        let Ok(Entered::Queued(call)) = limit.enter(&tenant(number)) else { panic!() };
        queued.push((number, call));
    }
    let mut order = Vec::new();
    while let Some(done) = running.pop() {
        drop(done);
        // The granted permit is released in a later round.
        if let Some(at) = queued.iter_mut().position(|(_, call)| is_granted(call)) {
            let (number, mut call) = queued.remove(at);
            call.is_granted = true;
            order.push(number);
            running.insert(0, limit.permit(&call.tenant));
        }
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 1]);
}

#[test]
fn abandoned_call_releases_its_permit() {
    let limit = limit(1, 4);
    let (running, first) = fill(&limit, &tenant(1));
    let second = limit.enter(&tenant(2)).unwrap();
    drop(first);
    drop(second);
    assert_eq!(limit.lock().free_queued, 4);
    let Ok(Entered::Queued(call)) = limit.enter(&tenant(2)) else { panic!() };
    // The permit is granted to a call that is dropped before it sees that.
    drop(running);
    assert_eq!(limit.lock().free, 0);
    drop(call);
    assert_eq!(limit.lock().free, 1);
    assert!(limit.lock().tenants.is_empty());
}

proptest! {
    /// Other tenants keep the permits and the queue as full as they may. A call of a new
    /// tenant waits for at most as many completions as there are queued tenants.
    #[test]
    fn new_tenant_waits_for_bounded_number_of_completions(
        calls in 1_u32..40,
        others in 1_usize..10,
        ends in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let limit = limit(calls, 256);
        let mut running: Vec<Permit> = Vec::new();
        let mut queued: Vec<QueuedCall> = Vec::new();
        for other in 0..others {
            let (permits, first) = fill(&limit, &tenant(other));
            running.extend(permits);
            queued.extend(first);
            for _ in 0..4 {
                if let Ok(Entered::Queued(call)) = limit.enter(&tenant(other)) {
                    queued.push(call);
                }
            }
        }
        let newcomer = tenant(100);
        let entered = limit.enter(&newcomer).unwrap();
        let Entered::Queued(mut call) = entered else { return Ok(()) };
        let mut completions = 0;
        let mut ends = ends.iter();
        while !is_granted(&mut call) {
            prop_assert!(completions <= others, "{completions} calls ended");
            let end = ends.next().unwrap().index(running.len());
            let ended = running.swap_remove(end);
            // Its tenant calls again before the permit is released.
            if let Ok(Entered::Queued(again)) = limit.enter(&ended.tenant) {
                queued.push(again);
            }
            drop(ended);
            completions += 1;
            for mut other in std::mem::take(&mut queued) {
                if is_granted(&mut other) {
                    other.is_granted = true;
                    running.push(limit.permit(&other.tenant));
                } else {
                    queued.push(other);
                }
            }
        }
        call.is_granted = true;
        drop(limit.permit(&newcomer));
    }
}
