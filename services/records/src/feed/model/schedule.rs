//! Who does the next step.

use super::{
    coverage::Coverage,
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
    witness::{Property, Violation},
    world::{Step, World},
    writer::Writer,
};

/// More than any schedule needs: who is not at rest by then never will be.
const MOST_STEPS: usize = 20_000;
const MOST_ROUNDS: usize = 1_000;

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

    /// Whether its work comes to an end by itself.
    fn is_finite(&self) -> bool {
        matches!(self, Self::Writer(_) | Self::Purge(_) | Self::Operator(_))
    }
}

/// What a schedule has shown.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) violations: Vec<Violation>,
    pub(super) coverage: Coverage,
    /// What was done; empty unless it was asked for.
    pub(super) trace: Vec<String>,
}

/// Runs the schedule of a seed, to its end or to the first violation.
pub(super) fn run(seed: u64, setup: Setup, is_traced: bool) -> Outcome {
    let mut world = World::new(setup, Random::new(seed), is_traced);
    let mut actors = cast(&mut world);
    play(&mut world, &mut actors);
    if world.witness.violations.is_empty() {
        restored::check(&mut world, actors);
    }
    Outcome {
        violations: world.witness.violations,
        coverage: world.coverage,
        trace: world.trace.unwrap_or_default(),
    }
}

/// Lets the actors act until all have come to rest, and checks the whole.
pub(super) fn play(world: &mut World, actors: &mut Vec<Actor>) {
    act(world, actors);
    if !world.witness.violations.is_empty() {
        return;
    }
    world.is_calm = true;
    settle(world, actors);
    if !world.witness.violations.is_empty() {
        return;
    }
    if world.setup.ordering == Ordering::Sequencer {
        properties::at_rest(world);
    }
    for actor in actors.iter() {
        match actor {
            Actor::Reader(reader) => reader.check_at_rest(world),
            Actor::Poller(poller) => {
                let heard = properties::heard(&world.database, poller.product());
                let found = properties::of_order(&poller.arrived, &heard);
                world.witness.violations.extend(found);
            }
            _ => {}
        }
    }
}

/// In any order, until those whose work ends have finished.
fn act(world: &mut World, actors: &mut Vec<Actor>) {
    let mut working = actors.iter().filter(|actor| actor.is_finite()).count();
    for _ in 0..MOST_STEPS {
        if working == 0 || !world.witness.violations.is_empty() {
            return;
        }
        let chosen = world.random.below(actors.len());
        if actors[chosen].step(world) == Step::Finished {
            actors.swap_remove(chosen);
            working -= 1;
        }
    }
    world.witness.fail(Property::Settled, format!("{working} actors have not finished"));
}

/// In turn, until nobody has anything to do.
fn settle(world: &mut World, actors: &mut [Actor]) {
    for _ in 0..MOST_ROUNDS {
        let mut is_at_rest = true;
        for actor in actors.iter_mut() {
            is_at_rest &= actor.step(world) == Step::Rested;
        }
        if is_at_rest || !world.witness.violations.is_empty() {
            return;
        }
    }
    world.witness.fail(Property::Settled, "the actors do not come to rest".to_owned());
}

fn cast(world: &mut World) -> Vec<Actor> {
    let random = &mut world.random;
    let mut actors = Vec::new();
    let writers = random.between(3, 5);
    for name in 0..writers {
        // At least one is slow.
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

/// Of every kind one, in any place; and a product that is connected.
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
