//! Runs a schedule: chooses the actor of each step.

use super::{
    coverage::Coverage,
    observer::{Property, Violation},
    operator::Operator,
    ordering::{Ordering, Poller},
    properties,
    purge::Purge,
    random::Random,
    reader::{Reader, Start},
    restored,
    rows::{CONSTANT_PRODUCT, PRODUCTS},
    sequencer::Sequencer,
    setup::Setup,
    world::{Step, World},
    writer::Writer,
};

/// More steps than any schedule needs: an actor that is not idle by then never will be.
const MAX_STEPS: usize = 20_000;
const MAX_ROUNDS: usize = 1_000;

#[derive(Debug)]
pub(super) enum Actor {
    Writer(Writer),
    Sequencer(Sequencer),
    Purge(Purge),
    Operator(Operator),
    Reader(Reader),
    Poller(Poller),
}

impl Actor {
    fn step(&mut self, world: &mut World) -> Step {
        match self {
            Self::Writer(writer) => writer.step(world),
            Self::Sequencer(sequencer) => sequencer.step(world),
            Self::Purge(purge) => purge.step(world),
            Self::Operator(operator) => operator.step(world),
            Self::Reader(reader) => reader.step(world),
            Self::Poller(poller) => poller.step(world),
        }
    }

    /// True if the actor finishes by itself.
    fn is_finite(&self) -> bool {
        matches!(self, Self::Writer(_) | Self::Purge(_) | Self::Operator(_))
    }
}

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

/// Runs the actors until all are idle, and checks the result.
pub(super) fn run_actors(world: &mut World, actors: &mut Vec<Actor>) {
    run_until_finished(world, actors);
    if !world.observer.violations.is_empty() {
        return;
    }
    world.faults_disabled = true;
    run_until_idle(world, actors);
    if !world.observer.violations.is_empty() {
        return;
    }
    if world.setup.ordering == Ordering::Sequencer {
        properties::of_idle_world(world);
    }
    for actor in actors.iter() {
        match actor {
            Actor::Reader(reader) => reader.check_when_idle(world),
            Actor::Poller(poller) => {
                let expected = properties::expected_changes(&world.database, poller.product());
                let found = properties::of_order(&poller.arrived, &expected);
                world.observer.violations.extend(found);
            }
            _ => {}
        }
    }
}

/// Runs the actors in random order until the finite ones have finished.
fn run_until_finished(world: &mut World, actors: &mut Vec<Actor>) {
    let mut working = actors.iter().filter(|actor| actor.is_finite()).count();
    for _ in 0..MAX_STEPS {
        if working == 0 || !world.observer.violations.is_empty() {
            return;
        }
        let chosen = world.random.below(actors.len());
        if actors[chosen].step(world) == Step::Finished {
            actors.swap_remove(chosen);
            working -= 1;
        }
    }
    world.observer.fail(Property::Terminating, format!("{working} actors have not finished"));
}

/// Runs the actors in turn until all are idle.
fn run_until_idle(world: &mut World, actors: &mut [Actor]) {
    for _ in 0..MAX_ROUNDS {
        let mut all_idle = true;
        for actor in actors.iter_mut() {
            all_idle &= actor.step(world) == Step::Idle;
        }
        if all_idle || !world.observer.violations.is_empty() {
            return;
        }
    }
    world.observer.fail(Property::Terminating, "the actors do not become idle".to_owned());
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
