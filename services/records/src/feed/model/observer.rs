//! Observes what the actors do, independently of the database: its log is not purged.

use super::{
    connect_log::ConnectLog,
    cursor::Cursor,
    rows::{Change, ChangeId, Entry, PRACTICES, PRODUCTS, Position, Practice, Product},
};

/// The properties of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Property {
    /// The positions of a stream increase.
    Ordered,
    /// A change has one position, and a position one change.
    Unique,
    /// No position between the floor and the head is missing.
    Dense,
    /// The feed of a product contains exactly the committed changes that the product is
    /// a recipient of.
    Complete,
    /// A cursor is followed by the changes after it, or rejected.
    Resumable,
    /// An accepted cursor denotes the change that it has always denoted.
    CursorStable,
    /// The versions of a record increase.
    Monotonic,
    /// A snapshot and the changes after it equal the current records.
    SnapshotConsistent,
    /// A change that is in no feed is deleted.
    Purged,
    /// No practice is skipped while others are served twice.
    Fair,
    /// Once no new work arrives, all actors become idle.
    Terminating,
}

#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) property: Property,
    pub(super) what: String,
}

/// A cursor that was issued, with the change at its position then.
#[derive(Clone, Copy, Debug)]
pub(super) struct IssuedCursor {
    pub(super) cursor: Cursor,
    pub(super) change: Option<ChangeId>,
}

#[derive(Clone, Debug)]
pub(super) struct Observer {
    /// Every change that was ever sequenced, by position.
    logs: [Vec<Change>; PRODUCTS],
    /// The number of batches that skipped a practice with pending rows.
    skipped: [[usize; PRACTICES + 1]; PRODUCTS],
    pub(super) connects: ConnectLog,
    pub(super) issued_cursors: Vec<IssuedCursor>,
    pub(super) violations: Vec<Violation>,
}

impl Observer {
    pub(super) fn new() -> Self {
        let logs = std::array::from_fn(|_| Vec::new());
        let skipped = [[0; PRACTICES + 1]; PRODUCTS];
        let connects = ConnectLog::new();
        Self { logs, skipped, connects, issued_cursors: Vec::new(), violations: Vec::new() }
    }

    /// Keeps the history of a backup, without what was observed after it.
    pub(super) fn of_backup(&self) -> Self {
        let (logs, connects) = (self.logs.clone(), self.connects.clone());
        Self { logs, connects, ..Self::new() }
    }

    pub(super) fn fail(&mut self, property: Property, what: String) {
        self.violations.push(Violation { property, what });
    }

    pub(super) fn log(&self, product: Product) -> &[Change] {
        &self.logs[product]
    }

    pub(super) fn change_at(&self, product: Product, position: Position) -> Option<Change> {
        self.logs[product].get(position.checked_sub(1)?).copied()
    }

    /// Records the entries that a transaction committed.
    pub(super) fn sequenced(&mut self, entries: &[Entry]) {
        for entry in entries {
            let next = self.logs[entry.product].len() + 1;
            if entry.position < next {
                self.fail(Property::Unique, format!("the position was given before: {entry:?}"));
            } else if entry.position > next {
                self.fail(Property::Dense, format!("a gap before {entry:?}"));
            }
            if self.logs[entry.product].iter().any(|change| change.id == entry.change.id) {
                self.fail(Property::Unique, format!("the change has a position: {entry:?}"));
            }
            self.logs[entry.product].push(entry.change);
        }
    }

    /// Records a committed batch that skipped some practices.
    pub(super) fn skipped(&mut self, product: Product, practices: &[Practice], bound: usize) {
        for practice in 1..=PRACTICES {
            let count = &mut self.skipped[product][practice];
            *count = if practices.contains(&practice) { *count + 1 } else { 0 };
            if *count > bound {
                self.fail(Property::Fair, format!("practice {practice} of {product} waits"));
            }
        }
    }

    /// Checks the cursor after which a reader receives changes.
    pub(super) fn follows(&mut self, cursor: &Cursor) {
        let found = self.change_at(cursor.product, cursor.position).map(|change| change.id);
        if found != cursor.change {
            self.fail(Property::Resumable, format!("{cursor:?}, but the feed has {found:?}"));
        }
    }

    /// Checks the entries of one read after `after`.
    pub(super) fn delivered(&mut self, after: Position, entries: &[Entry], head: Position) {
        let mut last = after;
        for entry in entries {
            if entry.position <= last {
                self.fail(Property::Ordered, format!("after {last} comes {entry:?}"));
            } else if entry.position > last + 1 {
                self.fail(Property::Dense, format!("after {last} comes {entry:?}"));
            }
            last = entry.position;
            let found = self.change_at(entry.product, entry.position);
            if found != Some(entry.change) || entry.position > head {
                self.fail(Property::Resumable, format!("{entry:?}, but the feed has {found:?}"));
            }
        }
    }

    pub(super) fn cursor_issued(&mut self, cursor: Cursor) {
        let change = self.change_at(cursor.product, cursor.position).map(|change| change.id);
        self.issued_cursors.push(IssuedCursor { cursor, change });
    }
}
