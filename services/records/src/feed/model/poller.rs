//! A reader that needs no sequencer, and reads a feed in one of the three wrong orders.

use super::{
    rows::{Change, Product, Seq, Xid},
    setup::Ordering,
    world::{Step, World},
};

/// Maximum number of changes in one read.
const LIMIT: usize = 4;

/// A reader that uses one of the rejected orders.
#[derive(Debug)]
pub(super) struct Poller {
    product: Product,
    /// The last transaction, if the order uses it, and the last sequence number.
    cursor: (Xid, Seq),
    /// The changes in the order of their arrival.
    pub(super) arrived: Vec<Change>,
}

impl Poller {
    pub(super) fn new(product: Product) -> Self {
        Self { product, cursor: (0, 0), arrived: Vec::new() }
    }

    pub(super) fn product(&self) -> Product {
        self.product
    }

    pub(super) fn step(&mut self, world: &mut World) -> Step {
        let ordering = world.setup.ordering;
        let transactions = &world.database.transactions;
        let horizon = match ordering {
            Ordering::Numbers | Ordering::Sequencer => Xid::MAX,
            _ => transactions.horizon(),
        };
        let order_key = |change: &Change| match ordering {
            Ordering::TransactionsBelowHorizon => (change.xid, change.seq),
            _ => (0, change.seq),
        };
        let changes = world.database.changes.seen(transactions, None);
        let is_next = |change: &&Change| {
            change.recipients[self.product]
                && change.xid < horizon
                && order_key(change) > self.cursor
        };
        let mut next: Vec<Change> = changes.filter(is_next).copied().collect();
        next.sort_by_key(order_key);
        next.truncate(LIMIT);
        let Some(last) = next.last() else { return Step::Idle };
        self.cursor = order_key(last);
        world.log_step(|| format!("poller: reads {next:?}"));
        self.arrived.append(&mut next);
        Step::Progressed
    }
}
