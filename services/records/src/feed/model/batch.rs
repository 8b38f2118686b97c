//! Which pending rows get positions together.

use super::{
    rows::{PRACTICES, Pending, Practice, Product},
    setup::Defect,
    transactions::TransactionId,
    world::World,
};

/// So many changes of one practice get positions in one transaction.
const BATCH_OF_PRACTICE: usize = 2;
/// Of so many practices.
const PRACTICES_OF_BATCH: usize = 2;
/// So many batches may pass over a practice before its turn comes.
pub(super) const PASSED_OVER_AT_MOST: usize = PRACTICES.div_ceil(PRACTICES_OF_BATCH) - 1;

/// What a statement sees of a product's pending rows.
pub(super) fn pending_of(world: &World, viewer: TransactionId, product: Product) -> Vec<Pending> {
    let database = &world.database;
    let pending = database.pending.seen(&database.transactions, Some(viewer));
    pending.filter(|pending| pending.product == product).copied().collect()
}

/// Practice after practice, beginning after the one that was served last and
/// going round, the oldest of each; all in the order of their numbers.
pub(super) fn choose(world: &World, pending: &[Pending], last_practice: Practice) -> Vec<Pending> {
    let last = if world.has(Defect::FirstPracticeFirst) { 0 } else { last_practice };
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
