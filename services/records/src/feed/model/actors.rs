//! The actors of a schedule, and how they run: a random one takes each step.

use super::{
    observer::Property,
    operator::Operator,
    poller::Poller,
    properties,
    purge::Purge,
    reader::Reader,
    sequencer::Sequencer,
    setup::Ordering,
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
