//! What the tables of the model hold.

pub(super) const PRODUCTS: usize = 2;
/// Connected to every practice throughout. The other one comes and goes.
pub(super) const CONSTANT_PRODUCT: Product = 0;
pub(super) const PRACTICES: usize = 3;
pub(super) const RECORDS_OF_PRACTICE: usize = 3;
pub(super) const RECORDS: usize = PRACTICES * RECORDS_OF_PRACTICE;

pub(super) type Product = usize;
/// From 1: 0 is below every practice.
pub(super) type Practice = usize;
pub(super) type RecordId = usize;
pub(super) type Version = usize;
/// From 1; 0 is before the first.
pub(super) type Position = usize;
pub(super) type Seq = usize;
pub(super) type Xid = usize;
/// Never given twice, not even by two databases that come of one backup.
pub(super) type ChangeId = usize;

pub(super) fn practice_of(record: RecordId) -> Practice {
    1 + record / RECORDS_OF_PRACTICE
}

pub(super) fn records_of(practice: Practice) -> std::ops::Range<RecordId> {
    let first = (practice - 1) * RECORDS_OF_PRACTICE;
    first..first + RECORDS_OF_PRACTICE
}

/// A row of `feed_change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) id: ChangeId,
    pub(super) seq: Seq,
    /// Of the transaction that wrote it; only the orderings that were rejected
    /// look at it.
    pub(super) xid: Xid,
    pub(super) record: RecordId,
    pub(super) version: Version,
    /// Whether each product hears of it.
    pub(super) audience: [bool; PRODUCTS],
}

/// A row of `feed_pending`. It holds the change itself, which never changes,
/// so that the model needs no joins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) product: Product,
    pub(super) change: Change,
}

impl Pending {
    pub(super) fn practice(&self) -> Practice {
        practice_of(self.change.record)
    }
}

/// A row of `feed_entry`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) product: Product,
    pub(super) position: Position,
    pub(super) change: Change,
}

/// A row of `feed_product`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feed {
    pub(super) product: Product,
    pub(super) epoch: u32,
    pub(super) head: Position,
    pub(super) floor: Position,
    /// The change that stood just below the floor; none before the first purge.
    pub(super) floor_change: Option<ChangeId>,
    pub(super) last_practice: Practice,
}

/// A record, of which only the version matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) id: RecordId,
    pub(super) version: Version,
}

/// A product is connected to a practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) practice: Practice,
    pub(super) product: Product,
}
