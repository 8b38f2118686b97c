//! Selects the pending rows that are sequenced together.

use super::{
    rows::{PRACTICES, Pending, Practice, Product},
    setup::Defect,
    transactions::TransactionId,
    world::World,
};

/// Maximum number of changes of one practice in a batch.
const BATCH_OF_PRACTICE: usize = 2;
/// Maximum number of practices in a batch.
const PRACTICES_OF_BATCH: usize = 2;
/// Maximum number of consecutive batches that may skip a practice with pending rows.
pub(super) const MAX_SKIPPED_BATCHES: usize = PRACTICES.div_ceil(PRACTICES_OF_BATCH) - 1;

/// The pending rows of a product that a statement sees.
pub(super) fn pending_of(world: &World, viewer: TransactionId, product: Product) -> Vec<Pending> {
    let database = &world.database;
    let pending = database.pending.seen(&database.transactions, Some(viewer));
    pending.filter(|pending| pending.product == product).copied().collect()
}

/// Selects by a round robin over the practices, which starts after the last one served
/// and wraps around, with the oldest rows of each; sorted by sequence number.
pub(super) fn choose(world: &World, pending: &[Pending], last_practice: Practice) -> Vec<Pending> {
    let last = if world.has(Defect::NoRoundRobin) { 0 } else { last_practice };
    let is_pending =
        |practice: &Practice| pending.iter().any(|pending| pending.practice() == *practice);
    let round = (last + 1..=PRACTICES).chain(1..=last);
    let mut taken = Vec::new();
    for practice in round.filter(is_pending).take(PRACTICES_OF_BATCH) {
        let of_practice = pending.iter().filter(|pending| pending.practice() == practice);
        let mut of_practice: Vec<Pending> = of_practice.copied().collect();
        of_practice.sort_by_key(|pending| pending.change.seq);
        if world.has(Defect::NewestOfPracticeTaken) {
            of_practice.reverse();
        }
        taken.extend(of_practice.into_iter().take(BATCH_OF_PRACTICE));
    }
    taken.sort_by_key(|pending| pending.change.seq);
    taken
}
