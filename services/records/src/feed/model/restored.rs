//! A backup that was restored, and goes on differently.

use super::{
    cursor::Refusal,
    properties,
    reader::{Reader, Start},
    rows::PRODUCTS,
    schedule::{Actor, play},
    sequencer::Sequencer,
    witness::Property,
    world::World,
    writer::Writer,
};

/// Changes of a restored database have other ids than those of its origin.
const OTHER_CHANGES: usize = 1_000_000;

/// When a backup was taken: restores it, lets others work on it, and presents
/// the cursors of either database to the other. The streams of the origin stay open:
/// as of a standby that has lost the last commits, and takes the place of its origin.
pub(super) fn check(origin: &mut World, streams: Vec<Actor>) {
    let Some(backup) = origin.backup.take() else { return };
    // A new epoch is part of restoring. When it was forgotten, the cursors still
    // have to be told from one another.
    let epoch = u32::from(origin.random.once_in(2));
    let random = origin.random.fork();
    let mut world = World::new(origin.setup, random, origin.trace.is_some());
    world.database = backup.database.recovered(epoch);
    world.witness = backup.witness;
    world.last_change = OTHER_CHANGES;
    let mut actors = cast(&mut world);
    actors.extend(streams.into_iter().filter_map(|actor| match actor {
        Actor::Reader(reader) => Some(Actor::Reader(reader.carried_over())),
        _ => None,
    }));
    play(&mut world, &mut actors);
    origin.coverage.replaced_pasts += world.coverage.replaced_pasts;
    let wrong = [wrongly_taken(origin, &world), wrongly_taken(&world, origin)].concat();
    for what in wrong {
        origin.witness.fail(Property::Bookmarkable, what);
    }
    count(origin, &world);
    origin.coverage.restored_backups += 1;
    if let (Some(trace), Some(other)) = (&mut origin.trace, world.trace) {
        trace.extend(other.into_iter().map(|step| format!("restored: {step}")));
    }
    origin.witness.violations.extend(world.witness.violations);
}

fn cast(world: &mut World) -> Vec<Actor> {
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

/// The cursors of `from` that `to` takes for what they are not.
fn wrongly_taken(from: &World, to: &World) -> Vec<String> {
    let bookmarks = from.witness.bookmarks.iter();
    let wrong = bookmarks.filter(|bookmark| {
        let verdict = to.check(&bookmark.cursor, bookmark.cursor.product);
        verdict != properties::truth(bookmark, to)
    });
    wrong.map(|bookmark| format!("another database is wrong on {bookmark:?}")).collect()
}

fn count(origin: &mut World, restored: &World) {
    for bookmark in &origin.witness.bookmarks {
        match restored.check(&bookmark.cursor, bookmark.cursor.product) {
            Ok(()) => origin.coverage.shared_cursors += 1,
            Err(Refusal::TooNew) => origin.coverage.too_new += 1,
            Err(Refusal::Foreign) => origin.coverage.foreign += 1,
            Err(Refusal::TooOld) => {}
        }
    }
}
