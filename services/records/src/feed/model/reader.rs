//! A subscriber, with the server's half of its stream.

use super::{
    cursor::{Cursor, Refusal},
    held::Held,
    properties,
    rows::{Entry, Feed, Position, Product, RECORDS, RecordId},
    setup::Defect,
    witness::Property,
    world::{Step, World},
};

/// At most so many positions are read at once.
const LIMIT: usize = 3;
/// So many records are one page of a snapshot.
const PAGE: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Now,
    Snapshot,
    /// The same, as soon as a connect of the product is answered.
    Connected,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Begin,
    /// The connection was lost; goes on after this cursor, and with this page
    /// if it is of a snapshot.
    Resume(Cursor, Option<RecordId>),
    /// The ends of the feed were read, and the change at the cursor was not;
    /// only by [`Defect`].
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
    /// Every position up to here has been applied.
    applied: Position,
    /// The records, if it knows them all.
    held: Option<Held>,
    commits_before: usize,
    /// Its stream was opened in another history than the one that it reads now.
    is_of_another: bool,
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
            held: None,
            commits_before: 0,
            is_of_another: false,
        }
    }

    /// Its stream stays open while another history takes the place of its own.
    pub(super) fn carried_over(self) -> Self {
        Self { held: None, pause: 0, is_of_another: true, ..self }
    }

    pub(super) fn step(&mut self, world: &mut World) -> Step {
        if self.pause > 0 && !world.is_calm {
            self.pause -= 1;
            return Step::Waited;
        }
        match self.at {
            At::Begin if self.awaits_connect(world) => return Step::Waited,
            At::Begin => self.begin(world),
            At::Resume(cursor, page) => self.resume(world, cursor, page),
            At::HalfResumed(cursor, feed) => {
                let change = world.database.change_at(None, &feed, cursor.position);
                let verdict = world.verdict(&cursor, &feed, change);
                self.go_on(world, cursor, None, verdict);
            }
            At::Copy(_) | At::Tail if world.fails_once_in(14) => self.lose_connection(world),
            At::Copy(record) => self.copy_page(world, record),
            At::Tail => return self.tail(world),
        }
        Step::Worked
    }

    fn awaits_connect(&self, world: &World) -> bool {
        let is_awaited = self.start == Start::Connected && !world.is_calm;
        is_awaited && !world.witness.connects.trusted(self.product).is_any_by_answer()
    }

    fn begin(&mut self, world: &mut World) {
        let feed = world.database.feed(None, self.product);
        let position = if self.start == Start::Earliest { feed.floor - 1 } else { feed.head };
        let change = world.database.change_at(None, &feed, position);
        let cursor = world.hand_out(&feed, position, change);
        world.say(|| format!("reader {}: begins by {:?} at {cursor:?}", self.name, self.start));
        self.cursor = Some(cursor);
        self.cursor_before = Some(cursor);
        self.acknowledged = Some(cursor);
        self.applied = position;
        self.commits_before = world.coverage.commits;
        let is_snapshot = matches!(self.start, Start::Snapshot | Start::Connected);
        self.at = if is_snapshot { At::Copy(0) } else { At::Tail };
        // Who has heard everything holds what a snapshot would have told.
        let trusted = world.witness.connects.trusted(self.product);
        let heard_all = (position == 0).then(|| Held::new(trusted.of_always()));
        self.held = if is_snapshot { Some(Held::new(trusted)) } else { heard_all };
    }

    /// A page in the order of the records, each as it is now.
    fn copy_page(&mut self, world: &mut World, from: RecordId) {
        let next = (from + PAGE).min(RECORDS);
        let versions = &mut self.held.as_mut().unwrap().versions;
        for (record, version) in (from..next).zip(&mut versions[from..next]) {
            *version = world.database.version(None, record);
        }
        world.say(|| format!("reader {}: copies {from}..{next}", self.name));
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
            let held = self.held;
            self.begin(world);
            (self.held, self.at) = (held, At::Tail);
        }
    }

    fn lose_connection(&mut self, world: &mut World) {
        world.coverage.lost_connections += 1;
        let page = if let At::Copy(record) = self.at { Some(record) } else { None };
        let known = [self.cursor, self.cursor_before, self.acknowledged];
        // One that is handed out during a snapshot is of the snapshot.
        // In another history an older one may be good where the newest is not.
        let is_newest = page.is_some() || self.is_of_another;
        let chosen = if is_newest { 0 } else { world.random.below(known.len()) };
        let cursor = known[chosen].unwrap();
        world.say(|| format!("reader {}: loses its connection, has {cursor:?}", self.name));
        world.coverage.old_cursors += usize::from(cursor.position < self.applied);
        self.pause = if world.random.once_in(3) { world.random.below(20) } else { 0 };
        self.at = At::Resume(cursor, page);
    }

    fn resume(&mut self, world: &mut World, cursor: Cursor, page: Option<RecordId>) {
        if world.has(Defect::CursorCheckedInTwo) && page.is_none() {
            let feed = world.database.feed(None, self.product);
            self.at = At::HalfResumed(cursor, feed);
            return;
        }
        let verdict = world.check(&cursor, self.product);
        self.go_on(world, cursor, page, verdict);
    }

    fn go_on(
        &mut self,
        world: &mut World,
        cursor: Cursor,
        page: Option<RecordId>,
        verdict: Result<(), Refusal>,
    ) {
        world.say(|| format!("reader {}: resumes, {verdict:?}", self.name));
        match verdict {
            Ok(()) => {
                self.cursor = Some(cursor);
                self.at = page.map_or(At::Tail, At::Copy);
                world.coverage.resumed_snapshots += usize::from(page.is_some());
            }
            Err(Refusal::TooOld) => self.begin_anew(world),
            Err(_) if self.is_of_another => self.end_with_its_past(world),
            Err(refusal) => {
                let what = format!("{cursor:?} of this feed is {refusal:?}");
                world.witness.fail(Property::Bookmarkable, what);
            }
        }
    }

    /// What it has missed was purged.
    fn begin_anew(&mut self, world: &mut World) {
        world.coverage.out_of_range += 1;
        self.start = Start::Snapshot;
        self.at = At::Begin;
    }

    fn tail(&mut self, world: &mut World) -> Step {
        let cursor = self.cursor.unwrap();
        let (feed, entries) = world.database.read(self.product, cursor.position, LIMIT);
        let change_at = world.database.change_at(None, &feed, cursor.position);
        let past = super::cursor::check(&cursor, &feed, change_at);
        if past.is_err_and(|refusal| refusal != Refusal::TooOld)
            && !world.has(Defect::PastForgotten)
        {
            self.end_with_its_past(world);
            return Step::Worked;
        }
        if properties::is_torn(world, cursor.position, &feed, &entries) {
            world.say(|| format!("reader {}: out of range of {feed:?}", self.name));
            self.begin_anew(world);
            return Step::Worked;
        }
        let Some(last) = entries.last() else { return Step::Rested };
        world.witness.follows(&cursor);
        world.witness.delivered(cursor.position, &entries, feed.head);
        let next = world.hand_out(&feed, last.position, Some(last.change.id));
        world.say(|| format!("reader {}: gets {entries:?}", self.name));
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
        Step::Worked
    }

    /// What it was sent is not what the feed has there.
    fn end_with_its_past(&mut self, world: &mut World) {
        let cursor = self.cursor.unwrap();
        world.say(|| format!("reader {}: {cursor:?} is of another past", self.name));
        world.coverage.replaced_pasts += 1;
        if !self.is_of_another {
            world.witness.fail(Property::Resumable, format!("{cursor:?} is not taken any longer"));
        }
        self.is_of_another = false;
        self.start = Start::Snapshot;
        self.at = At::Begin;
    }

    fn apply(&mut self, world: &mut World, entry: &Entry) {
        if entry.position <= self.applied {
            world.coverage.redeliveries += 1;
            return;
        }
        self.applied = entry.position;
        if let Some(held) = &mut self.held {
            held.apply(&entry.change);
        }
    }

    /// When all has come to rest: it has everything, and the records as they
    /// are.
    pub(super) fn check_at_rest(&self, world: &mut World) {
        let feed = world.database.feed(None, self.product);
        if self.applied != feed.head || !matches!(self.at, At::Tail) {
            let what = format!("reader {} is at {:?} of {feed:?}", self.name, self.cursor);
            world.witness.fail(Property::Resumable, what);
        }
        if let Some(held) = &self.held {
            properties::of_copy(world, self.product, held);
            let is_by_answer = world.witness.connects.hold_by_answer(&held.trusted, self.product);
            let is_busy = world.coverage.commits > self.commits_before;
            world.coverage.copies_after_connect += usize::from(is_by_answer && is_busy);
        }
    }
}
