//! A restored backup with a diverging history.

use super::{
    actors::{Actor, run_actors},
    cursor::CursorError,
    observer::Property,
    properties,
    reader::{Reader, Start},
    rows::PRODUCTS,
    sequencer::Sequencer,
    world::World,
    writer::Writer,
};

/// Changes of a restored database have other ids than those of the origin.
const OTHER_CHANGES: usize = 1_000_000;

/// Restores the backup if one was taken, runs actors on it, and presents the cursors of
/// each database to the other. The streams of the origin stay open, as when a standby
/// that lost the last commits replaces its primary.
pub(super) fn check(origin: &mut World, streams: Vec<Actor>) {
    let Some(backup) = origin.backup.take() else { return };
    // A restore renews the epoch. If that was omitted, the cursors must still be
    // distinguishable.
    let epoch = u32::from(origin.random.once_in(2));
    let random = origin.random.fork();
    let mut world = World::new(origin.setup, random, origin.trace.is_some());
    world.database = backup.database.recovered(epoch);
    world.observer = backup.observer;
    world.last_change = OTHER_CHANGES;
    let mut actors = create_actors(&mut world);
    actors.extend(streams.into_iter().filter_map(|actor| match actor {
        Actor::Reader(reader) => Some(Actor::Reader(reader.carried_over())),
        _ => None,
    }));
    run_actors(&mut world, &mut actors);
    origin.coverage.replaced_pasts += world.coverage.replaced_pasts;
    let wrong = [wrongly_checked(origin, &world), wrongly_checked(&world, origin)].concat();
    for what in wrong {
        origin.observer.fail(Property::CursorStable, what);
    }
    count(origin, &world);
    origin.coverage.restored_backups += 1;
    if let (Some(trace), Some(other)) = (&mut origin.trace, world.trace) {
        trace.extend(other.into_iter().map(|step| format!("restored: {step}")));
    }
    origin.observer.violations.extend(world.observer.violations);
}

fn create_actors(world: &mut World) -> Vec<Actor> {
    let writers = world.random.between(0, 2);
    let mut actors: Vec<Actor> =
        (0..writers).map(|name| Actor::Writer(Writer::new(name, 3, false))).collect();
    actors.push(Actor::Sequencer(Sequencer::new(0)));
    for product in 0..PRODUCTS {
        let reader = Reader::new(product, product, Start::Earliest, 0, false);
        actors.push(Actor::Reader(reader));
    }
    actors
}

/// The cursors of `from` for which `to` returns a wrong result.
fn wrongly_checked(from: &World, to: &World) -> Vec<String> {
    let issued_cursors = from.observer.issued_cursors.iter();
    let wrong = issued_cursors.filter(|issued| {
        let verdict = to.check(&issued.cursor, issued.cursor.product);
        verdict != properties::expected_verdict(issued, to)
    });
    wrong.map(|issued| format!("another database accepts or rejects {issued:?}")).collect()
}

fn count(origin: &mut World, restored: &World) {
    for issued in &origin.observer.issued_cursors {
        match restored.check(&issued.cursor, issued.cursor.product) {
            Ok(()) => origin.coverage.shared_cursors += 1,
            Err(CursorError::TooNew) => origin.coverage.too_new += 1,
            Err(CursorError::Foreign) => origin.coverage.foreign += 1,
            Err(CursorError::TooOld) => {}
        }
    }
}
