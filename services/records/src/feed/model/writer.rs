//! Transactions that change records.
//!
//! Each follows a script: locks and writes first; the last statements before the commit
//! insert the changes and the pending rows.

use super::{
    database::Lock,
    rows::{Change, PRODUCTS, Pending, RecordId, Seq, Version},
    script::{self, Statement},
    transactions::TransactionId,
    world::{Step, World},
};

#[derive(Debug)]
pub(super) struct Writer {
    name: usize,
    transactions_left: usize,
    is_slow: bool,
    script: Vec<Statement>,
    next: usize,
    transaction: Option<TransactionId>,
    savepoint: Option<TransactionId>,
    is_waiting: bool,
    recipients: [bool; PRODUCTS],
    /// Only with a [`Defect`](super::setup::Defect).
    reserved: Vec<Seq>,
    /// The writes that have no row in `feed_change` yet.
    written: Vec<(RecordId, Version)>,
    /// The number of them before the savepoint.
    written_before: usize,
    /// The changes that have no pending rows yet.
    numbered: Vec<Change>,
}

impl Writer {
    pub(super) fn new(name: usize, transactions: usize, is_slow: bool) -> Self {
        Self {
            name,
            transactions_left: transactions,
            is_slow,
            script: Vec::new(),
            next: 0,
            transaction: None,
            savepoint: None,
            is_waiting: false,
            recipients: [false; PRODUCTS],
            reserved: Vec::new(),
            written: Vec::new(),
            written_before: 0,
            numbered: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, world: &mut World) -> Step {
        if self.next == self.script.len() {
            if self.transactions_left == 0 {
                return Step::Finished;
            }
            self.transactions_left -= 1;
            self.script = script::write(world, self.is_slow);
            self.next = 0;
            self.reserved.clear();
        }
        let statement = self.script[self.next];
        if let Statement::Pause(steps) = statement
            && steps > 1
        {
            self.script[self.next] = Statement::Pause(steps - 1);
            return Step::Waiting;
        }
        if let Statement::Lock(record) = statement
            && !self.lock(world, record)
        {
            return Step::Waiting;
        }
        self.execute(world, statement);
        self.next += 1;
        world.log_step(|| format!("writer {}: {statement:?}", self.name));
        Step::Progressed
    }

    fn lock(&mut self, world: &mut World, record: RecordId) -> bool {
        let transaction = self.current(world);
        let is_locked = world.database.lock(transaction, Lock::Record(record));
        if !is_locked && !self.is_waiting {
            world.coverage.lock_waits += 1;
            world.log_step(|| format!("writer {}: waits for record {record}", self.name));
        }
        self.is_waiting = !is_locked;
        is_locked
    }

    /// The innermost transaction. The first statement begins it.
    fn current(&mut self, world: &mut World) -> TransactionId {
        let outer = *self.transaction.get_or_insert_with(|| world.database.begin());
        self.savepoint.unwrap_or(outer)
    }

    fn execute(&mut self, world: &mut World, statement: Statement) {
        match statement {
            Statement::Pause(_) | Statement::Lock(_) => {}
            Statement::ReadConnections(practice) => {
                let current = self.current(world);
                self.recipients = world.database.read_connections(current, practice);
            }
            Statement::Reserve => self.reserved.push(world.database.next_seq()),
            Statement::Write(record) => {
                let current = self.current(world);
                self.written.push((record, world.database.bump(current, record)));
            }
            Statement::Savepoint => {
                let outer = self.current(world);
                self.savepoint = Some(world.database.savepoint(outer));
                self.written_before = self.written.len();
            }
            Statement::InsertChange => self.insert_change(world),
            Statement::InsertPending => self.insert_pending(world),
            Statement::InsertPendingLate => {
                self.insert_pending(world);
                world.database.commit(self.transaction.take().unwrap());
            }
            Statement::RollBackToSavepoint => {
                world.database.abort(self.savepoint.take().unwrap());
                self.numbered.clear();
                self.written_before = 0;
                world.coverage.savepoint_rollbacks += 1;
            }
            Statement::ReleaseSavepoint => {
                self.savepoint = None;
                self.written_before = 0;
                world.coverage.savepoints_kept += 1;
            }
            Statement::Commit => self.commit(world),
            Statement::RollBack => {
                world.database.abort(self.transaction.take().unwrap());
                self.numbered.clear();
                world.coverage.rollbacks += 1;
            }
        }
    }

    fn insert_change(&mut self, world: &mut World) {
        let current = self.current(world);
        let (record, version) = self.written.remove(self.written_before);
        let seq = self.next_seq(world);
        world.last_change += 1;
        let (id, recipients) = (world.last_change, self.recipients);
        let change = Change { id, seq, xid: 0, record, version, recipients };
        self.numbered.push(world.database.insert_change(current, change));
    }

    fn insert_pending(&mut self, world: &mut World) {
        let current = self.current(world);
        for change in self.numbered.drain(..) {
            for product in (0..PRODUCTS).filter(|product| change.recipients[*product]) {
                world.database.pending.insert(current, Pending { product, change });
            }
        }
    }

    fn next_seq(&mut self, world: &mut World) -> Seq {
        if self.reserved.is_empty() { world.database.next_seq() } else { self.reserved.remove(0) }
    }

    fn commit(&mut self, world: &mut World) {
        // With a late insert of the pending rows, the script continues after the
        // commit.
        let transaction = self.transaction.take().unwrap();
        world.coverage.late_commits += usize::from(is_late(world, transaction));
        world.database.commit(transaction);
        world.coverage.commits += 1;
    }
}

/// True if a greater sequence number than one of this transaction was committed before.
fn is_late(world: &World, transaction: TransactionId) -> bool {
    let changes = &world.database.changes;
    let lowest = changes.made_by(transaction).map(|change| change.seq).min();
    let mut others = changes.seen(&world.database.transactions, None);
    lowest.is_some_and(|lowest| others.any(|other| other.seq > lowest))
}
