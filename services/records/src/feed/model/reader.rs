//! A subscriber, including the server's side of its stream.

use super::{
    cursor::{Cursor, CursorError},
    observer::Property,
    properties,
    record_copy::RecordCopy,
    rows::{Entry, Feed, Position, Product, RECORDS, RecordId},
    setup::Defect,
    world::{Step, World},
};

/// Maximum number of positions in one read.
const LIMIT: usize = 3;
/// Number of records in a page of a snapshot.
const PAGE: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Now,
    Snapshot,
    /// As `Snapshot`, as soon as a connect of the product has returned.
    Connected,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Begin,
    /// The connection was lost. Resumes after this cursor, and at this page of a
    /// snapshot.
    Resume(Cursor, Option<RecordId>),
    /// The ends of the feed were read, but not the change at the cursor; only with a
    /// [`Defect`].
    HalfResumed(Cursor, Feed),
    /// Reads the next page of a snapshot, from this record.
    Copy(RecordId),
    Tail,
}

#[derive(Debug)]
pub(super) struct Reader {
    name: usize,
    product: Product,
    start: Start,
    at: At,
    pause: usize,
    is_slow: bool,
    cursor: Option<Cursor>,
    /// The cursors that it may resume with.
    cursor_before: Option<Cursor>,
    acknowledged: Option<Cursor>,
    /// Every position up to this one has been applied.
    applied: Position,
    /// The copy of the records, if it is complete.
    copy: Option<RecordCopy>,
    commits_before: usize,
    /// The stream was opened in another history than the one that it reads now.
    is_of_other_history: bool,
}

impl Reader {
    pub(super) fn new(
        name: usize,
        product: Product,
        start: Start,
        pause: usize,
        is_slow: bool,
    ) -> Self {
        Self {
            name,
            product,
            start,
            at: At::Begin,
            pause,
            is_slow,
            cursor: None,
            cursor_before: None,
            acknowledged: None,
            applied: 0,
            copy: None,
            commits_before: 0,
            is_of_other_history: false,
        }
    }

    /// Keeps the stream open while another history replaces its own.
    pub(super) fn carried_over(self) -> Self {
        Self { copy: None, pause: 0, is_of_other_history: true, ..self }
    }

    pub(super) fn step(&mut self, world: &mut World) -> Step {
        if self.pause > 0 && !world.faults_disabled {
            self.pause -= 1;
            return Step::Waiting;
        }
        match self.at {
            At::Begin if self.waits_for_connect(world) => return Step::Waiting,
            At::Begin => self.begin(world),
            At::Resume(cursor, page) => self.resume(world, cursor, page),
            At::HalfResumed(cursor, feed) => {
                let change = world.database.change_at(None, &feed, cursor.position);
                let verdict = world.verdict(&cursor, &feed, change);
                self.resume_with(world, cursor, None, verdict);
            }
            At::Copy(_) | At::Tail if world.fails_once_in(14) => self.lose_connection(world),
            At::Copy(record) => self.copy_page(world, record),
            At::Tail => return self.tail(world),
        }
        Step::Progressed
    }

    fn waits_for_connect(&self, world: &World) -> bool {
        let is_awaited = self.start == Start::Connected && !world.faults_disabled;
        is_awaited && !world.observer.connects.trusted(self.product).any_by_returned_connect()
    }

    fn begin(&mut self, world: &mut World) {
        let feed = world.database.feed(None, self.product);
        let position = if self.start == Start::Earliest { feed.floor - 1 } else { feed.head };
        let change = world.database.change_at(None, &feed, position);
        let cursor = world.issue_cursor(&feed, position, change);
        world.log_step(|| {
            format!("reader {}: starts with {:?} at {cursor:?}", self.name, self.start)
        });
        self.cursor = Some(cursor);
        self.cursor_before = Some(cursor);
        self.acknowledged = Some(cursor);
        self.applied = position;
        self.commits_before = world.coverage.commits;
        let is_snapshot = matches!(self.start, Start::Snapshot | Start::Connected);
        self.at = if is_snapshot { At::Copy(0) } else { At::Tail };
        // A reader of all changes has the same records as after a snapshot.
        let trusted = world.observer.connects.trusted(self.product);
        let complete = (position == 0).then(|| RecordCopy::new(trusted.only_always_connected()));
        self.copy = if is_snapshot { Some(RecordCopy::new(trusted)) } else { complete };
    }

    /// Reads a page of the current records, in their order.
    fn copy_page(&mut self, world: &mut World, from: RecordId) {
        let next = (from + PAGE).min(RECORDS);
        let versions = &mut self.copy.as_mut().unwrap().versions;
        for (record, version) in (from..next).zip(&mut versions[from..next]) {
            *version = world.database.version(None, record);
        }
        world.log_step(|| format!("reader {}: copies {from}..{next}", self.name));
        self.at = At::Copy(next);
        if next == RECORDS {
            self.finish_copy(world);
        }
    }

    fn finish_copy(&mut self, world: &mut World) {
        world.coverage.snapshots += 1;
        world.coverage.busy_snapshots += usize::from(world.coverage.commits > self.commits_before);
        self.at = At::Tail;
        if world.has(Defect::SnapshotHeadReadLast) {
            let copy = self.copy;
            self.begin(world);
            (self.copy, self.at) = (copy, At::Tail);
        }
    }

    fn lose_connection(&mut self, world: &mut World) {
        world.coverage.lost_connections += 1;
        let page = if let At::Copy(record) = self.at { Some(record) } else { None };
        let known = [self.cursor, self.cursor_before, self.acknowledged];
        // A cursor issued during a snapshot belongs to the snapshot. In another history
        // an older cursor may be valid where the newest is not.
        let is_newest = page.is_some() || self.is_of_other_history;
        let chosen = if is_newest { 0 } else { world.random.below(known.len()) };
        let cursor = known[chosen].unwrap();
        world.log_step(|| format!("reader {}: loses its connection, has {cursor:?}", self.name));
        world.coverage.old_cursors += usize::from(cursor.position < self.applied);
        self.pause = if world.random.once_in(3) { world.random.below(20) } else { 0 };
        self.at = At::Resume(cursor, page);
    }

    fn resume(&mut self, world: &mut World, cursor: Cursor, page: Option<RecordId>) {
        if world.has(Defect::CursorCheckedInTwoStatements) && page.is_none() {
            let feed = world.database.feed(None, self.product);
            self.at = At::HalfResumed(cursor, feed);
            return;
        }
        let verdict = world.check(&cursor, self.product);
        self.resume_with(world, cursor, page, verdict);
    }

    fn resume_with(
        &mut self,
        world: &mut World,
        cursor: Cursor,
        page: Option<RecordId>,
        verdict: Result<(), CursorError>,
    ) {
        world.log_step(|| format!("reader {}: resumes, {verdict:?}", self.name));
        match verdict {
            Ok(()) => {
                self.cursor = Some(cursor);
                self.at = page.map_or(At::Tail, At::Copy);
                world.coverage.resumed_snapshots += usize::from(page.is_some());
            }
            Err(CursorError::TooOld) => self.restart_from_snapshot(world),
            Err(_) if self.is_of_other_history => self.end_on_replaced_history(world),
            Err(error) => {
                let what = format!("{cursor:?} of this feed is {error:?}");
                world.observer.fail(Property::CursorStable, what);
            }
        }
    }

    /// A purge removed changes that it had not read.
    fn restart_from_snapshot(&mut self, world: &mut World) {
        world.coverage.out_of_range += 1;
        self.start = Start::Snapshot;
        self.at = At::Begin;
    }

    fn tail(&mut self, world: &mut World) -> Step {
        let cursor = self.cursor.unwrap();
        let (feed, entries) = world.database.read(self.product, cursor.position, LIMIT);
        let change_at = world.database.change_at(None, &feed, cursor.position);
        let past = super::cursor::check(&cursor, &feed, change_at);
        if past.is_err_and(|error| error != CursorError::TooOld)
            && !world.has(Defect::HistoryNotChecked)
        {
            self.end_on_replaced_history(world);
            return Step::Progressed;
        }
        if properties::has_gap(world, cursor.position, &feed, &entries) {
            world.log_step(|| format!("reader {}: out of range of {feed:?}", self.name));
            self.restart_from_snapshot(world);
            return Step::Progressed;
        }
        let Some(last) = entries.last() else { return Step::Idle };
        world.observer.follows(&cursor);
        world.observer.delivered(cursor.position, &entries, feed.head);
        let next = world.issue_cursor(&feed, last.position, Some(last.change.id));
        world.log_step(|| format!("reader {}: receives {entries:?}", self.name));
        for entry in &entries {
            self.apply(world, entry);
        }
        self.cursor_before = Some(cursor);
        self.cursor = Some(next);
        if world.random.once_in(4) {
            self.acknowledged = Some(cursor);
        }
        if self.is_slow {
            self.pause = world.random.below(30);
        }
        Step::Progressed
    }

    /// The feed has other changes than those that it was sent.
    fn end_on_replaced_history(&mut self, world: &mut World) {
        let cursor = self.cursor.unwrap();
        world.log_step(|| format!("reader {}: {cursor:?} is of another history", self.name));
        world.coverage.replaced_pasts += 1;
        if !self.is_of_other_history {
            world.observer.fail(Property::Resumable, format!("{cursor:?} is no longer accepted"));
        }
        self.is_of_other_history = false;
        self.start = Start::Snapshot;
        self.at = At::Begin;
    }

    fn apply(&mut self, world: &mut World, entry: &Entry) {
        if entry.position <= self.applied {
            world.coverage.redeliveries += 1;
            return;
        }
        self.applied = entry.position;
        if let Some(copy) = &mut self.copy {
            copy.apply(&entry.change);
        }
    }

    /// Checks an idle reader: it has all changes, and the current records.
    pub(super) fn check_when_idle(&self, world: &mut World) {
        let feed = world.database.feed(None, self.product);
        if self.applied != feed.head || !matches!(self.at, At::Tail) {
            let what = format!("reader {} is at {:?} of {feed:?}", self.name, self.cursor);
            world.observer.fail(Property::Resumable, what);
        }
        if let Some(copy) = &self.copy {
            properties::of_copy(world, self.product, copy);
            let is_by_returned_connect =
                world.observer.connects.any_holds_by_returned_connect(&copy.trusted, self.product);
            let is_busy = world.coverage.commits > self.commits_before;
            world.coverage.copies_after_connect += usize::from(is_by_returned_connect && is_busy);
        }
    }
}
