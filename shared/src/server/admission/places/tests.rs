use proptest::prelude::*;

use super::*;
use crate::server::admission::tests::identity;

fn tenant(number: usize) -> Tenant {
    Tenant::of(&identity(&format!("p{number}"), "books"))
}

fn places(calls: u32, waiting_calls: u32) -> Arc<Places> {
    Arc::new(Places::new(&Limits { calls, waiting_calls, ..Limits::default() }))
}

/// Begins calls until one is not at work at once.
fn fill(places: &Arc<Places>, tenant: &Tenant) -> (Vec<Place>, Option<Turn>) {
    let mut at_work = Vec::new();
    loop {
        match places.enter(tenant) {
            Ok(Entered::AtWork(place)) => at_work.push(place),
            Ok(Entered::Waits(turn)) => return (at_work, Some(turn)),
            Err(_) => return (at_work, None),
        }
    }
}

/// As many turns as the queue gives.
fn queue(places: &Arc<Places>, tenant: &Tenant) -> Vec<Turn> {
    let enter = || match places.enter(tenant) {
        Ok(Entered::Waits(turn)) => Some(turn),
        Ok(Entered::AtWork(_)) => panic!("a place is free"),
        Err(_) => None,
    };
    std::iter::from_fn(enter).collect()
}

fn has_come(turn: &mut Turn) -> bool {
    turn.comes.try_recv().is_ok()
}

#[test]
fn a_sole_tenant_works_in_all_places_but_the_reserve() {
    let places = places(64, 256);
    let (at_work, waits) = fill(&places, &tenant(1));
    assert_eq!(at_work.len(), 56);
    let more = queue(&places, &tenant(1));
    assert_eq!(more.len() + 1, 128, "and waits in half of the queue");
    assert!(places.are_full_for(&tenant(1)) && !places.are_full_for(&tenant(2)));
    assert!(matches!(places.enter(&tenant(2)), Ok(Entered::AtWork(_))));
    drop((at_work, waits, more));
    let state = places.lock();
    assert_eq!((state.free, state.free_waiting), (64, 256));
    assert!(state.tenants.is_empty() && state.turns.is_empty(), "nothing is kept");
    assert!(state.groups.is_empty());
}

#[test]
fn neither_the_products_of_a_practice_nor_the_practices_of_a_product_take_everything() {
    let products = |number: usize| Tenant::of(&identity("p1", &format!("product{number}")));
    let tenants: [&dyn Fn(usize) -> Tenant; 2] = [&products, &tenant];
    for tenant in tenants {
        let places = places(64, 256);
        let mut held = Vec::new();
        for number in 1..50 {
            held.push(fill(&places, &tenant(number)));
        }
        let other = Tenant::of(&identity("another", "ledger"));
        let (at_work, waits) = fill(&places, &other);
        assert!(!at_work.is_empty() && waits.is_some(), "another finds a place, and may wait");
        drop((held, at_work, waits));
        assert!(places.lock().groups.is_empty());
    }
}

#[test]
fn a_place_goes_to_each_tenant_in_turn_and_the_longest_wait_of_it() {
    let places = places(2, 64);
    let (mut at_work, first) = fill(&places, &tenant(1));
    assert_eq!(at_work.len(), 2);
    let mut waiting: Vec<(usize, Turn)> = vec![(1, first.unwrap())];
    for number in [1, 1, 2, 3, 2] {
        let Ok(Entered::Waits(turn)) = places.enter(&tenant(number)) else { panic!() };
        waiting.push((number, turn));
    }
    let mut order = Vec::new();
    while let Some(done) = at_work.pop() {
        drop(done);
        // The place of the one that came is given back at its turn.
        if let Some(at) = waiting.iter_mut().position(|(_, turn)| has_come(turn)) {
            let (number, mut turn) = waiting.remove(at);
            turn.came = true;
            order.push(number);
            at_work.insert(0, places.place(&turn.tenant));
        }
    }
    assert_eq!(order, [1, 2, 3, 1, 2, 1]);
}

#[test]
fn a_turn_that_is_given_up_takes_no_place() {
    let places = places(1, 4);
    let (at_work, first) = fill(&places, &tenant(1));
    let second = places.enter(&tenant(2)).unwrap();
    drop(first);
    drop(second);
    assert_eq!(places.lock().free_waiting, 4);
    let Ok(Entered::Waits(turn)) = places.enter(&tenant(2)) else { panic!() };
    // It is given the place, and goes away before it looks.
    drop(at_work);
    assert_eq!(places.lock().free, 0);
    drop(turn);
    assert_eq!(places.lock().free, 1);
    assert!(places.lock().tenants.is_empty());
}

proptest! {
    /// Others keep all places and the queue as full as they may; a tenant that comes
    /// waits for no more calls than tenants wait.
    #[test]
    fn a_tenant_that_waits_has_its_turn_within_a_bounded_number_of_completions(
        calls in 1_u32..40,
        others in 1_usize..10,
        ends in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let places = places(calls, 256);
        let mut at_work: Vec<Place> = Vec::new();
        let mut waiting: Vec<Turn> = Vec::new();
        for other in 0..others {
            let (places_of_other, first) = fill(&places, &tenant(other));
            at_work.extend(places_of_other);
            waiting.extend(first);
            for _ in 0..4 {
                if let Ok(Entered::Waits(turn)) = places.enter(&tenant(other)) {
                    waiting.push(turn);
                }
            }
        }
        let newcomer = tenant(100);
        let entered = places.enter(&newcomer).unwrap();
        let Entered::Waits(mut turn) = entered else { return Ok(()) };
        let mut completions = 0;
        let mut ends = ends.iter();
        while !has_come(&mut turn) {
            prop_assert!(completions <= others, "{completions} calls ended");
            let end = ends.next().unwrap().index(at_work.len());
            let ended = at_work.swap_remove(end);
            // Its tenant calls again before anything else.
            if let Ok(Entered::Waits(again)) = places.enter(&ended.tenant) {
                waiting.push(again);
            }
            drop(ended);
            completions += 1;
            for mut other in std::mem::take(&mut waiting) {
                if has_come(&mut other) {
                    other.came = true;
                    at_work.push(places.place(&other.tenant));
                } else {
                    waiting.push(other);
                }
            }
        }
        turn.came = true;
        drop(places.place(&newcomer));
    }
}
