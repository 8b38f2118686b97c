//! What a schedule is run with: the real thing, or something that is wrong.

use super::ordering::Ordering;

#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) ordering: Ordering,
    pub(super) defect: Option<Defect>,
}

impl Setup {
    pub(super) const REAL: Self = Self { ordering: Ordering::Sequencer, defect: None };

    pub(super) fn of_ordering(ordering: Ordering) -> Self {
        Self { ordering, ..Self::REAL }
    }

    pub(super) fn with(defect: Defect) -> Self {
        Self { defect: Some(defect), ..Self::REAL }
    }
}

/// A small mistake, of the kind that one could make. The checks must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// The lock and the taking of pending rows are one statement: it sees what
    /// was pending before it waited.
    PendingReadBeforeLock,
    /// The head is read before the lock.
    HeadReadBeforeLock,
    /// The last row that was taken is not deleted.
    LastTakenNotDeleted,
    /// The bound of a practice keeps its newest rows, not its oldest.
    NewestOfPracticeTaken,
    /// Pending rows are deleted in another transaction than the one that gave
    /// them their positions.
    SequencedInTwo,
    /// Every batch begins with the first practice.
    FirstPracticeFirst,
    /// A writer takes the number of a change before it locks the record.
    NumberedBeforeLock,
    /// A writer announces its changes in a transaction after its own.
    AnnouncedAfterCommit,
    /// Entries are deleted in one transaction, the floor is raised in another.
    PurgedInTwo,
    /// The purge removes changes that another product's sequencer is still to
    /// take.
    PendingForgotten,
    /// Purges of two products do not take turns.
    PurgedAtOnce,
    /// The purge does not remember the change below the floor.
    FloorChangeForgotten,
    /// A reader that resumes reads the ends of the feed in one statement, and
    /// the change at its cursor in another.
    CursorCheckedInTwo,
    /// The seal of a cursor does not hold the change.
    CursorsUntagged,
    /// A reader steps over what the purge removed.
    HolesSteppedOver,
    /// A stream does not compare what it has sent with what the feed has there.
    PastForgotten,
    /// The head that the changes after a snapshot begin at is read after it.
    SnapshotHeadReadLast,
    /// Who connects a product does not wait for the writers that have looked before
    /// who is connected.
    AnsweredAtOnce,
}
