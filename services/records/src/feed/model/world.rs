//! The state that the actors share.

use super::{
    coverage::Coverage,
    cursor::{Cursor, CursorError},
    database::Database,
    observer::Observer,
    random::Random,
    rows::{ChangeId, Feed, Position, Product},
    setup::{Defect, Setup},
};

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Progressed,
    /// The actor waits for a lock, or is slow.
    Waiting,
    /// The actor has nothing to do now.
    Idle,
    /// The actor has finished.
    Finished,
}

/// A backup of the database, with the observer's state.
#[derive(Clone, Debug)]
pub(super) struct Backup {
    pub(super) database: Database,
    pub(super) observer: Observer,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) random: Random,
    pub(super) database: Database,
    pub(super) observer: Observer,
    pub(super) coverage: Coverage,
    /// Disables faults and pauses for the rest of the schedule.
    pub(super) faults_disabled: bool,
    pub(super) backup: Option<Backup>,
    pub(super) last_change: ChangeId,
    /// The log of the steps, if requested.
    pub(super) trace: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(setup: Setup, random: Random, is_traced: bool) -> Self {
        Self {
            setup,
            random,
            database: Database::new(0),
            observer: Observer::new(),
            coverage: Coverage::default(),
            faults_disabled: false,
            backup: None,
            last_change: 0,
            trace: is_traced.then(Vec::new),
        }
    }

    pub(super) fn has(&self, defect: Defect) -> bool {
        self.setup.defect == Some(defect)
    }

    /// Logs a step if the schedule is traced.
    pub(super) fn log_step(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    /// True if a fault is injected here.
    pub(super) fn fails_once_in(&mut self, times: usize) -> bool {
        !self.faults_disabled && self.random.once_in(times)
    }

    /// Issues the cursor of a position to a reader.
    pub(super) fn issue_cursor(
        &mut self,
        feed: &Feed,
        position: Position,
        change: Option<ChangeId>,
    ) -> Cursor {
        let cursor = Cursor { product: feed.product, epoch: feed.epoch, position, change };
        self.observer.cursor_issued(cursor);
        cursor
    }

    /// Checks a cursor against the feed of `product`, in one statement.
    pub(super) fn check(&self, cursor: &Cursor, product: Product) -> Result<(), CursorError> {
        let feed = self.database.feed(None, product);
        let change = self.database.change_at(None, &feed, cursor.position);
        self.verdict(cursor, &feed, change)
    }

    pub(super) fn verdict(
        &self,
        cursor: &Cursor,
        feed: &Feed,
        change_at: Option<ChangeId>,
    ) -> Result<(), CursorError> {
        let signed = if self.has(Defect::CursorWithoutChange) { change_at } else { cursor.change };
        super::cursor::check(&Cursor { change: signed, ..*cursor }, feed, change_at)
    }
}
