//! What was observed, beside the database: its memory is not purged, and does
//! not depend on what it judges.

use super::{
    connects::Connects,
    cursor::Cursor,
    rows::{Change, ChangeId, Entry, PRACTICES, PRODUCTS, Position, Practice, Product},
};

/// What is promised of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Property {
    /// A stream's positions rise.
    Ordered,
    /// A change stands at one position, a position has one change.
    Unique,
    /// No position between the floor and the head is missing.
    Dense,
    /// What was committed is in the feed of those who hear of it, and nothing
    /// else.
    Complete,
    /// A cursor is followed by what came after it, or refused.
    Resumable,
    /// A cursor that is accepted denotes the change that it always denoted.
    Bookmarkable,
    /// The versions of a record rise.
    Monotonic,
    /// A snapshot and what follows are the records as they are.
    Copied,
    /// A change that is in no feed any more is not kept.
    Purged,
    /// No practice waits while others are served twice.
    Fair,
    /// When nothing happens any more, all come to rest.
    Settled,
}

#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) property: Property,
    pub(super) what: String,
}

/// A cursor that was handed out, and what stood there then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bookmark {
    pub(super) cursor: Cursor,
    pub(super) change: Option<ChangeId>,
}

#[derive(Clone, Debug)]
pub(super) struct Witness {
    /// Every change that was ever sequenced, by position.
    logs: [Vec<Change>; PRODUCTS],
    /// How many batches passed over a practice that had something pending.
    passed_over: [[usize; PRACTICES + 1]; PRODUCTS],
    pub(super) connects: Connects,
    pub(super) bookmarks: Vec<Bookmark>,
    pub(super) violations: Vec<Violation>,
}

impl Witness {
    pub(super) fn new() -> Self {
        let logs = std::array::from_fn(|_| Vec::new());
        let passed_over = [[0; PRACTICES + 1]; PRODUCTS];
        let connects = Connects::new();
        Self { logs, passed_over, connects, bookmarks: Vec::new(), violations: Vec::new() }
    }

    /// Remembers the past of a backup, and nothing that was observed after it.
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

    /// A transaction committed these entries.
    pub(super) fn sequenced(&mut self, entries: &[Entry]) {
        for entry in entries {
            let next = self.logs[entry.product].len() + 1;
            if entry.position < next {
                self.fail(Property::Unique, format!("the position was given before: {entry:?}"));
            } else if entry.position > next {
                self.fail(Property::Dense, format!("a hole before {entry:?}"));
            }
            if self.logs[entry.product].iter().any(|change| change.id == entry.change.id) {
                self.fail(Property::Unique, format!("the change has a position: {entry:?}"));
            }
            self.logs[entry.product].push(entry.change);
        }
    }

    /// A batch was committed that left everything of some practices for later.
    pub(super) fn passed_over(&mut self, product: Product, practices: &[Practice], bound: usize) {
        for practice in 1..=PRACTICES {
            let count = &mut self.passed_over[product][practice];
            *count = if practices.contains(&practice) { *count + 1 } else { 0 };
            if *count > bound {
                self.fail(Property::Fair, format!("practice {practice} of {product} waits"));
            }
        }
    }

    /// A reader is sent what comes after a place of its own.
    pub(super) fn follows(&mut self, cursor: &Cursor) {
        let stands = self.change_at(cursor.product, cursor.position).map(|change| change.id);
        if stands != cursor.change {
            self.fail(Property::Resumable, format!("{cursor:?}, but there stands {stands:?}"));
        }
    }

    /// A reader was sent these entries, of one statement, after `after`.
    pub(super) fn delivered(&mut self, after: Position, entries: &[Entry], head: Position) {
        let mut last = after;
        for entry in entries {
            if entry.position <= last {
                self.fail(Property::Ordered, format!("after {last} comes {entry:?}"));
            } else if entry.position > last + 1 {
                self.fail(Property::Dense, format!("after {last} comes {entry:?}"));
            }
            last = entry.position;
            let stands = self.change_at(entry.product, entry.position);
            if stands != Some(entry.change) || entry.position > head {
                self.fail(Property::Resumable, format!("{entry:?}, but there stands {stands:?}"));
            }
        }
    }

    pub(super) fn handed_out(&mut self, cursor: Cursor) {
        let change = self.change_at(cursor.product, cursor.position).map(|change| change.id);
        self.bookmarks.push(Bookmark { cursor, change });
    }
}
