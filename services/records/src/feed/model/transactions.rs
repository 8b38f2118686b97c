//! Transactions and their visibility.

use super::rows::Xid;

pub(super) type TransactionId = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Running,
    Committed,
    Aborted,
}

#[derive(Clone, Debug)]
struct Transaction {
    /// A savepoint that is not aborted has the outcome of its outer transaction.
    outcome: Outcome,
    within: Option<TransactionId>,
    xid: Option<Xid>,
}

/// All transactions, and savepoints, which are nested transactions.
#[derive(Clone, Debug)]
pub(super) struct Transactions {
    all: Vec<Transaction>,
    last_xid: Xid,
}

impl Transactions {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), last_xid: 0 }
    }

    pub(super) fn begin(&mut self, within: Option<TransactionId>) -> TransactionId {
        self.all.push(Transaction { outcome: Outcome::Running, within, xid: None });
        self.all.len() - 1
    }

    pub(super) fn end(&mut self, id: TransactionId, outcome: Outcome) {
        self.all[id].outcome = outcome;
    }

    /// Aborts all running transactions.
    pub(super) fn abort_all(&mut self) {
        let outermost = self.all.iter_mut().filter(|one| one.within.is_none());
        for transaction in outermost.filter(|one| one.outcome == Outcome::Running) {
            transaction.outcome = Outcome::Aborted;
        }
    }

    fn outcome(&self, id: TransactionId) -> Outcome {
        let transaction = &self.all[id];
        match transaction.within {
            Some(outer) if transaction.outcome == Outcome::Running => self.outcome(outer),
            _ => transaction.outcome,
        }
    }

    pub(super) fn outermost(&self, id: TransactionId) -> TransactionId {
        self.all[id].within.unwrap_or(id)
    }

    pub(super) fn is_committed(&self, id: TransactionId) -> bool {
        self.outcome(id) == Outcome::Committed
    }

    pub(super) fn is_aborted(&self, id: TransactionId) -> bool {
        self.outcome(id) == Outcome::Aborted
    }

    /// True if a statement of `viewer` sees the writes of `id`.
    pub(super) fn counts(&self, id: TransactionId, viewer: Option<TransactionId>) -> bool {
        match self.outcome(id) {
            Outcome::Committed => true,
            Outcome::Aborted => false,
            Outcome::Running => {
                viewer.is_some_and(|viewer| self.outermost(viewer) == self.outermost(id))
            }
        }
    }

    /// The number of the transaction, which its first write assigns.
    pub(super) fn xid(&mut self, id: TransactionId) -> Xid {
        let outermost = self.outermost(id);
        *self.all[outermost].xid.get_or_insert_with(|| {
            self.last_xid += 1;
            self.last_xid
        })
    }

    /// `pg_snapshot_xmin(pg_current_snapshot())`: every transaction with a lower number
    /// has ended.
    pub(super) fn horizon(&self) -> Xid {
        let running = self.all.iter().filter(|one| one.outcome == Outcome::Running);
        running.filter_map(|one| one.xid).min().unwrap_or(self.last_xid + 1)
    }
}
