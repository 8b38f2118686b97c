//! The order in which a feed is read: that of the sequencer, and three that
//! need none and do not work.

use super::{
    rows::{Change, Product, Seq, Xid},
    world::{Step, World},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordering {
    /// Positions are given after the commit, from the pending rows.
    Sequencer,
    /// `WHERE seq > cursor ORDER BY seq`. Loses what is committed after a
    /// greater number was read.
    Numbers,
    /// The same, of transactions below the oldest that still runs. A number may
    /// be taken by a younger transaction, and read later than a greater one.
    NumbersBelowHorizon,
    /// `ORDER BY xid, seq`, of the same transactions. Loses nothing, but an old
    /// transaction may change a record after a younger one did.
    TransactionsBelowHorizon,
}

/// At most so many changes are read at once.
const LIMIT: usize = 4;

/// A reader by one of the rejected orderings.
#[derive(Debug)]
pub(super) struct Poller {
    product: Product,
    /// Where it is: of the transaction, where that counts, and the number.
    cursor: (Xid, Seq),
    /// In the order in which it came.
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
        let place = |change: &Change| match ordering {
            Ordering::TransactionsBelowHorizon => (change.xid, change.seq),
            _ => (0, change.seq),
        };
        let changes = world.database.changes.seen(transactions, None);
        let is_next = |change: &&Change| {
            change.audience[self.product] && change.xid < horizon && place(change) > self.cursor
        };
        let mut next: Vec<Change> = changes.filter(is_next).copied().collect();
        next.sort_by_key(place);
        next.truncate(LIMIT);
        let Some(last) = next.last() else { return Step::Rested };
        self.cursor = place(last);
        world.say(|| format!("poller: reads {next:?}"));
        self.arrived.append(&mut next);
        Step::Worked
    }
}
