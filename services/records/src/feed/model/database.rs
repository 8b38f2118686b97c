//! The tables, the row locks, and the statements.

use super::{
    rows::{
        Change, ChangeId, Connection, Entry, Feed, PRACTICES, PRODUCTS, Pending, Position,
        Practice, Product, RECORDS, Record, RecordId, Seq, Version,
    },
    table::Table,
    transactions::{Outcome, TransactionId, Transactions},
};

/// What can be locked: a row, by `SELECT … FOR UPDATE`, or an advisory lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Record(RecordId),
    Feed(Product),
    /// The advisory lock that serialises purges.
    Purge,
}

/// The database. Actors read the tables directly; writes go through methods, which
/// assign the transaction its number.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) transactions: Transactions,
    pub(super) changes: Table<Change>,
    pub(super) pending: Table<Pending>,
    pub(super) entries: Table<Entry>,
    feeds: Table<Feed>,
    records: Table<Record>,
    connections: Table<Connection>,
    locks: Vec<(Lock, TransactionId)>,
    /// The open transactions that have read the connections. A transaction holds a lock
    /// on each table that it has read until it ends.
    readers: Vec<TransactionId>,
    last_seq: Seq,
}

impl Database {
    /// A database with all records at version 0, and all products connected.
    pub(super) fn new(epoch: u32) -> Self {
        let mut database = Self {
            transactions: Transactions::new(),
            changes: Table::new(),
            pending: Table::new(),
            entries: Table::new(),
            feeds: Table::new(),
            records: Table::new(),
            connections: Table::new(),
            locks: Vec::new(),
            readers: Vec::new(),
            last_seq: 0,
        };
        let first = database.begin();
        for product in 0..PRODUCTS {
            let (head, floor, floor_change, last_practice) = (0, 1, None, 0);
            let feed = Feed { product, epoch, head, floor, floor_change, last_practice };
            database.feeds.insert(first, feed);
            for practice in 1..=PRACTICES {
                database.connections.insert(first, Connection { practice, product });
            }
        }
        for id in 0..RECORDS {
            database.records.insert(first, Record { id, version: 0 });
        }
        database.commit(first);
        database
    }

    pub(super) fn begin(&mut self) -> TransactionId {
        self.transactions.begin(None)
    }

    pub(super) fn savepoint(&mut self, within: TransactionId) -> TransactionId {
        self.transactions.begin(Some(within))
    }

    pub(super) fn commit(&mut self, id: TransactionId) {
        self.end(id, Outcome::Committed);
    }

    /// Rolls back a transaction, or to a savepoint, and releases its locks.
    pub(super) fn abort(&mut self, id: TransactionId) {
        self.end(id, Outcome::Aborted);
    }

    fn end(&mut self, id: TransactionId, outcome: Outcome) {
        self.transactions.end(id, outcome);
        let transactions = &self.transactions;
        self.locks.retain(|(_, holder)| {
            let is_of = *holder == id || transactions.outermost(*holder) == id;
            !is_of
        });
        self.readers.retain(|reader| *reader != id);
        self.pending.vacuum(transactions);
        self.feeds.vacuum(transactions);
        self.records.vacuum(transactions);
        self.connections.vacuum(transactions);
    }

    /// The database after a crash or from a backup: open transactions are aborted.
    pub(super) fn recovered(&self, epoch: u32) -> Self {
        let mut database = self.clone();
        database.transactions.abort_all();
        database.locks.clear();
        database.readers.clear();
        let id = database.begin();
        database.feeds.update(&database.transactions, id, |_| true, |feed| feed.epoch = epoch);
        database.commit(id);
        database
    }

    /// Takes a lock, unless another transaction holds it; then returns false, and the
    /// statement has to be retried. Assigns the transaction's number in either case.
    pub(super) fn lock(&mut self, id: TransactionId, lock: Lock) -> bool {
        self.transactions.xid(id);
        let holder = self.locks.iter().find(|(held, _)| *held == lock).map(|(_, holder)| *holder);
        if holder.is_none() {
            self.locks.push((lock, id));
        }
        let outermost = |id| self.transactions.outermost(id);
        holder.is_none_or(|holder| outermost(holder) == outermost(id))
    }

    /// `nextval`: a rollback does not return sequence numbers.
    pub(super) fn next_seq(&mut self) -> Seq {
        self.last_seq += 1;
        self.last_seq
    }

    pub(super) fn insert_change(&mut self, by: TransactionId, change: Change) -> Change {
        let change = Change { xid: self.transactions.xid(by), ..change };
        self.changes.insert(by, change);
        change
    }

    /// Increments a record's version, and returns it.
    pub(super) fn bump(&mut self, by: TransactionId, id: RecordId) -> Version {
        let is_it = |record: &Record| record.id == id;
        self.records.update(&self.transactions, by, is_it, |record| record.version += 1);
        self.version(Some(by), id)
    }

    pub(super) fn version(&self, viewer: Option<TransactionId>, id: RecordId) -> Version {
        let mut records = self.records.seen(&self.transactions, viewer);
        records.find(|record| record.id == id).unwrap().version
    }

    pub(super) fn feed(&self, viewer: Option<TransactionId>, product: Product) -> Feed {
        let mut feeds = self.feeds.seen(&self.transactions, viewer);
        *feeds.find(|feed| feed.product == product).unwrap()
    }

    pub(super) fn update_feed(
        &mut self,
        by: TransactionId,
        product: Product,
        change: impl Fn(&mut Feed),
    ) {
        self.feeds.update(&self.transactions, by, |feed| feed.product == product, change);
    }

    /// The products that receive the changes of a practice.
    fn recipients(&self, viewer: TransactionId, practice: Practice) -> [bool; PRODUCTS] {
        let mut recipients = [false; PRODUCTS];
        let connections = self.connections.seen(&self.transactions, Some(viewer));
        for connection in connections.filter(|connection| connection.practice == practice) {
            recipients[connection.product] = true;
        }
        recipients
    }

    /// Reads the recipients of a change that the transaction is about to make; see
    /// [`open_readers`](Self::open_readers).
    pub(super) fn read_connections(
        &mut self,
        by: TransactionId,
        practice: Practice,
    ) -> [bool; PRODUCTS] {
        self.readers.push(self.transactions.outermost(by));
        self.recipients(by, practice)
    }

    /// The open transactions that have read the connections.
    pub(super) fn open_readers(&self) -> Vec<TransactionId> {
        self.readers.clone()
    }

    /// Connects a disconnected product, or disconnects a connected one. Returns true if
    /// it is connected now.
    pub(super) fn toggle(&mut self, by: TransactionId, connection: Connection) -> bool {
        let is_connected = self.recipients(by, connection.practice)[connection.product];
        if is_connected {
            self.connections.remove(&self.transactions, by, |one| *one == connection);
        } else {
            self.connections.insert(by, connection);
        }
        !is_connected
    }

    /// Reads at most `limit` positions after `after`, and the ends of the feed, in one
    /// statement.
    pub(super) fn read(
        &self,
        product: Product,
        after: Position,
        limit: usize,
    ) -> (Feed, Vec<Entry>) {
        let is_next = |entry: &&Entry| {
            entry.product == product && entry.position > after && entry.position <= after + limit
        };
        let entries = self.entries.seen(&self.transactions, None).filter(is_next);
        let mut entries: Vec<Entry> = entries.copied().collect();
        entries.sort_by_key(|entry| entry.position);
        (self.feed(None, product), entries)
    }

    /// The change at a position: that of its entry, or the one that the purge stored.
    pub(super) fn change_at(
        &self,
        viewer: Option<TransactionId>,
        feed: &Feed,
        position: Position,
    ) -> Option<ChangeId> {
        if position + 1 == feed.floor {
            return feed.floor_change;
        }
        let is_it = |entry: &&Entry| entry.product == feed.product && entry.position == position;
        self.entries.seen(&self.transactions, viewer).find(is_it).map(|entry| entry.change.id)
    }
}
