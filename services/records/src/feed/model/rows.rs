//! The rows of the model's tables.

pub(super) const PRODUCTS: usize = 2;
/// The product that is always connected to every practice. The other one is not.
pub(super) const CONSTANT_PRODUCT: Product = 0;
pub(super) const PRACTICES: usize = 3;
pub(super) const RECORDS_OF_PRACTICE: usize = 3;
pub(super) const RECORDS: usize = PRACTICES * RECORDS_OF_PRACTICE;

pub(super) type Product = usize;
/// From 1; 0 sorts before every practice.
pub(super) type Practice = usize;
pub(super) type RecordId = usize;
pub(super) type Version = usize;
/// From 1; 0 is before the first position.
pub(super) type Position = usize;
pub(super) type Seq = usize;
pub(super) type Xid = usize;
/// Unique, even across two databases from the same backup.
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
    /// The transaction that wrote it. Only the rejected orders use it.
    pub(super) xid: Xid,
    pub(super) record: RecordId,
    pub(super) version: Version,
    /// The products that receive it.
    pub(super) recipients: [bool; PRODUCTS],
}

/// A row of `feed_pending`. It contains the change itself, which is immutable, so that
/// the model needs no joins.
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
    /// The change at the position below the floor; `None` before the first purge.
    pub(super) floor_change: Option<ChangeId>,
    pub(super) last_practice: Practice,
}

/// A record, reduced to its version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) id: RecordId,
    pub(super) version: Version,
}

/// A connection of a product to a practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) practice: Practice,
    pub(super) product: Product,
}
