//! Runs a schedule with the actors of its seed.

use super::{
    actors::{Actor, run_actors},
    coverage::Coverage,
    observer::Violation,
    operator::Operator,
    poller::Poller,
    purge::Purge,
    random::Random,
    reader::{Reader, Start},
    restored,
    rows::{CONSTANT_PRODUCT, PRODUCTS},
    sequencer::Sequencer,
    setup::{Ordering, Setup},
    world::World,
    writer::Writer,
};

/// The result of a schedule.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) violations: Vec<Violation>,
    pub(super) coverage: Coverage,
    /// The log of the steps; empty unless requested.
    pub(super) trace: Vec<String>,
}

/// Runs the schedule of a seed, to its end or to the first violation.
pub(super) fn run(seed: u64, setup: Setup, is_traced: bool) -> Outcome {
    let mut world = World::new(setup, Random::new(seed), is_traced);
    let mut actors = create_actors(&mut world);
    run_actors(&mut world, &mut actors);
    if world.observer.violations.is_empty() {
        restored::check(&mut world, actors);
    }
    Outcome {
        violations: world.observer.violations,
        coverage: world.coverage,
        trace: world.trace.unwrap_or_default(),
    }
}

fn create_actors(world: &mut World) -> Vec<Actor> {
    let random = &mut world.random;
    let mut actors = Vec::new();
    let writers = random.between(3, 5);
    for name in 0..writers {
        // At least one writer is slow.
        let is_slow = name == 0 || random.once_in(4);
        let transactions = if is_slow { random.between(1, 3) } else { random.between(2, 5) };
        actors.push(Actor::Writer(Writer::new(name, transactions, is_slow)));
    }
    let toggles = random.below(4);
    if world.setup.ordering == Ordering::Sequencer {
        actors.push(Actor::Sequencer(Sequencer::new(0)));
        actors.push(Actor::Sequencer(Sequencer::new(1)));
        actors.push(Actor::Purge(Purge::new(random.below(4))));
        actors.push(Actor::Purge(Purge::new(random.below(4))));
        actors.push(Actor::Operator(Operator::new(toggles, random.once_in(4))));
        actors.push(Actor::Operator(Operator::new(random.below(4), false)));
        readers(world, &mut actors);
    } else {
        actors.push(Actor::Operator(Operator::new(toggles, false)));
        actors.extend((0..PRODUCTS).map(|product| Actor::Poller(Poller::new(product))));
    }
    actors
}

/// Adds a reader of each kind, and one that starts when its product is connected.
fn readers(world: &mut World, actors: &mut Vec<Actor>) {
    let random = &mut world.random;
    let starts = [Start::Earliest, Start::Now, Start::Snapshot, Start::Earliest];
    for (name, start) in starts.into_iter().enumerate() {
        let product = random.below(PRODUCTS);
        let pause = if name == 0 { 0 } else { random.below(60) };
        let is_slow = random.once_in(3);
        actors.push(Actor::Reader(Reader::new(name, product, start, pause, is_slow)));
    }
    let product = random.between(CONSTANT_PRODUCT + 1, PRODUCTS - 1);
    let connected = Reader::new(starts.len(), product, Start::Connected, 0, false);
    actors.push(Actor::Reader(connected));
}
