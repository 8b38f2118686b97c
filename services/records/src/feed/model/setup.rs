//! The configuration of a schedule: the real algorithm, or one with a defect.

#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) ordering: Ordering,
    pub(super) defect: Option<Defect>,
}

impl Setup {
    pub(super) const CORRECT: Self = Self { ordering: Ordering::Sequencer, defect: None };

    pub(super) fn of_ordering(ordering: Ordering) -> Self {
        Self { ordering, ..Self::CORRECT }
    }

    pub(super) fn with(defect: Defect) -> Self {
        Self { defect: Some(defect), ..Self::CORRECT }
    }
}

/// The order in which a feed is read: that of the sequencer, or one of three that need no
/// sequencer and are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordering {
    /// Positions that are assigned after the commit, from the pending rows.
    Sequencer,
    /// `WHERE seq > cursor ORDER BY seq`. Loses changes that are committed after a
    /// greater number was read.
    Numbers,
    /// As `Numbers`, of transactions below the oldest running one. A younger
    /// transaction may take a number, and be read later than a greater one.
    NumbersBelowHorizon,
    /// `ORDER BY xid, seq`, of the same transactions. Loses nothing, but an old
    /// transaction may change a record after a younger one did.
    TransactionsBelowHorizon,
}

/// A small, plausible mistake. The checks must detect each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// One statement locks the product and reads the pending rows, so it reads them as
    /// of before the wait.
    PendingReadBeforeLock,
    /// The head is read before the lock.
    HeadReadBeforeLock,
    /// The last taken row is not deleted.
    LastTakenNotDeleted,
    /// The limit of a practice keeps its newest rows instead of its oldest.
    NewestOfPracticeTaken,
    /// The pending rows are deleted in another transaction than the one that assigned
    /// their positions.
    SequencedInTwoTransactions,
    /// Every batch starts with the first practice.
    NoRoundRobin,
    /// A writer takes the sequence number of a change before it locks the record.
    SeqTakenBeforeLock,
    /// A writer inserts the pending rows in a second transaction after its own.
    PendingAfterCommit,
    /// The entries are deleted in one transaction, and the floor is raised in another.
    PurgedInTwoTransactions,
    /// The purge removes changes that are still pending for another product.
    PurgeIgnoresPending,
    /// Purges of two products are not serialised.
    PurgesNotSerialised,
    /// The purge does not store the change below the floor.
    FloorChangeNotStored,
    /// A resuming reader reads the ends of the feed in one statement, and the change at
    /// its cursor in another.
    CursorCheckedInTwoStatements,
    /// The signature of a cursor does not cover the change.
    CursorWithoutChange,
    /// A reader skips the positions that a purge removed.
    GapsSkipped,
    /// A stream does not compare the changes that it has sent with the feed.
    HistoryNotChecked,
    /// The head from which changes follow a snapshot is read after the snapshot.
    SnapshotHeadReadLast,
    /// A connect does not wait for the writers that have read the connections before
    /// it.
    ConnectDoesNotWait,
}
