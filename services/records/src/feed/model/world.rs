//! What the actors act on.

use super::{
    coverage::Coverage,
    cursor::{Cursor, Refusal},
    database::Database,
    random::Random,
    rows::{ChangeId, Feed, Position, Product},
    setup::{Defect, Setup},
    transactions::TransactionId,
    witness::Witness,
};

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Worked,
    /// For a lock, or because it is slow.
    Waited,
    /// There is nothing to do now.
    Rested,
    /// There will never be anything to do again.
    Finished,
}

/// A database as it was, with what was known of it.
#[derive(Clone, Debug)]
pub(super) struct Backup {
    pub(super) database: Database,
    pub(super) witness: Witness,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) random: Random,
    pub(super) database: Database,
    pub(super) witness: Witness,
    pub(super) coverage: Coverage,
    /// From then on nothing fails any more, and nobody is slow.
    pub(super) is_calm: bool,
    pub(super) backup: Option<Backup>,
    pub(super) last_change: ChangeId,
    /// What was done, when somebody wants to know.
    pub(super) trace: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(setup: Setup, random: Random, is_traced: bool) -> Self {
        Self {
            setup,
            random,
            database: Database::new(0),
            witness: Witness::new(),
            coverage: Coverage::default(),
            is_calm: false,
            backup: None,
            last_change: 0,
            trace: is_traced.then(Vec::new),
        }
    }

    pub(super) fn has(&self, defect: Defect) -> bool {
        self.setup.defect == Some(defect)
    }

    /// Describes a step, when the schedule is traced.
    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    /// Whether something fails just now.
    pub(super) fn fails_once_in(&mut self, times: usize) -> bool {
        !self.is_calm && self.random.once_in(times)
    }

    /// Commits a transaction of the feed, and checks what others now see.
    pub(super) fn commit_feed(&mut self, id: TransactionId, product: Product) {
        self.database.commit(id);
        let mut entries: Vec<_> = self.database.entries.made_by(id).copied().collect();
        entries.sort_by_key(|entry| entry.position);
        self.witness.sequenced(&entries);
        super::properties::of_feed_now(self, product);
    }

    /// The cursor of a position, as readers get it.
    pub(super) fn hand_out(
        &mut self,
        feed: &Feed,
        position: Position,
        change: Option<ChangeId>,
    ) -> Cursor {
        let cursor = Cursor { product: feed.product, epoch: feed.epoch, position, change };
        self.witness.handed_out(cursor);
        cursor
    }

    /// Presents a cursor to the feed of `product`: one statement.
    pub(super) fn check(&self, cursor: &Cursor, product: Product) -> Result<(), Refusal> {
        let feed = self.database.feed(None, product);
        let change = self.database.change_at(None, &feed, cursor.position);
        self.verdict(cursor, &feed, change)
    }

    pub(super) fn verdict(
        &self,
        cursor: &Cursor,
        feed: &Feed,
        change_at: Option<ChangeId>,
    ) -> Result<(), Refusal> {
        let sealed = if self.has(Defect::CursorsUntagged) { change_at } else { cursor.change };
        super::cursor::check(&Cursor { change: sealed, ..*cursor }, feed, change_at)
    }
}
