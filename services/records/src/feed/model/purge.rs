//! Purges old positions: the statements of `store::feed::retention::purge`.

use super::{
    database::Lock,
    properties,
    rows::{ChangeId, PRODUCTS, Position, Product, Seq},
    setup::Defect,
    transactions::TransactionId,
    world::{Step, World},
};

#[derive(Clone, Copy, Debug)]
enum At {
    Wait(usize),
    /// Begins a transaction, and takes the lock that serialises purges.
    LockPurge,
    /// Locks the feed, chooses the floor, and stores the change below it.
    LockOwn,
    RemoveChanges,
    RemoveEntries,
    RaiseFloor,
    Commit,
}

#[derive(Debug)]
pub(super) struct Purge {
    left: usize,
    at: At,
    product: Product,
    transaction: Option<TransactionId>,
    floor: Position,
    floor_change: Option<ChangeId>,
    /// Only with a [`Defect`]: the floor is raised in a transaction of its own.
    has_deleted: bool,
}

impl Purge {
    pub(super) fn new(times: usize) -> Self {
        Self {
            left: times,
            at: At::Wait(0),
            product: 0,
            transaction: None,
            floor: 1,
            floor_change: None,
            has_deleted: false,
        }
    }

    pub(super) fn step(&mut self, world: &mut World) -> Step {
        if let Some(transaction) = self.transaction
            && world.fails_once_in(20)
        {
            world.log_step(|| "purge: crashes".to_owned());
            world.coverage.purge_crashes += 1;
            world.database.abort(transaction);
            self.finish(world);
            return Step::Progressed;
        }
        match self.at {
            At::Wait(_) if self.left == 0 => return Step::Finished,
            At::Wait(0) => self.begin(world),
            At::Wait(steps) => {
                self.at = At::Wait(steps - 1);
                return Step::Waiting;
            }
            At::LockPurge => return self.lock_purge(world),
            At::LockOwn => return self.lock_own(world),
            At::RemoveChanges => self.remove_changes(world),
            At::RemoveEntries => self.remove_entries(world),
            At::RaiseFloor => self.raise_floor(world),
            At::Commit => {
                properties::commit_feed(world, self.transaction.unwrap(), self.product);
                properties::of_issued_cursors(world, self.product);
                properties::of_kept_changes(world);
                world.coverage.purges += 1;
                self.finish(world);
            }
        }
        Step::Progressed
    }

    fn begin(&mut self, world: &mut World) {
        self.left -= 1;
        self.product = world.random.below(PRODUCTS);
        self.at = At::LockPurge;
    }

    fn finish(&mut self, world: &mut World) {
        self.transaction = None;
        self.has_deleted = false;
        self.at = At::Wait(world.random.between(1, 40));
    }

    fn lock_purge(&mut self, world: &mut World) -> Step {
        let transaction = *self.transaction.get_or_insert_with(|| world.database.begin());
        let is_serialised = !world.has(Defect::PurgesNotSerialised);
        if is_serialised && !world.database.lock(transaction, Lock::Purge) {
            return Step::Waiting;
        }
        self.at = At::LockOwn;
        Step::Progressed
    }

    fn lock_own(&mut self, world: &mut World) -> Step {
        let transaction = self.transaction.unwrap();
        if !world.database.lock(transaction, Lock::Feed(self.product)) {
            return Step::Waiting;
        }
        if self.has_deleted {
            self.at = At::RaiseFloor;
            return Step::Progressed;
        }
        let feed = world.database.feed(Some(transaction), self.product);
        self.floor = world.random.between(feed.floor, feed.head + 1);
        self.floor_change = world.database.change_at(Some(transaction), &feed, self.floor - 1);
        world.log_step(|| format!("purge: raises the floor to {} of {feed:?}", self.floor));
        self.at = At::RemoveChanges;
        Step::Progressed
    }

    /// Removes the changes that are and will be in no other feed. One statement, which
    /// sees a change that another sequencer processes either as pending or at its
    /// position.
    fn remove_changes(&mut self, world: &mut World) {
        let by = self.transaction.unwrap();
        let forgets_pending = world.has(Defect::PurgeIgnoresPending);
        let database = &mut world.database;
        let (mut own, mut kept): (Vec<Seq>, Vec<Seq>) = (Vec::new(), Vec::new());
        for entry in database.entries.seen(&database.transactions, Some(by)) {
            if entry.product != self.product {
                kept.push(entry.change.seq);
            } else if entry.position < self.floor {
                own.push(entry.change.seq);
            }
        }
        if !forgets_pending {
            let pending = database.pending.seen(&database.transactions, Some(by));
            kept.extend(pending.map(|pending| pending.change.seq));
        }
        own.retain(|seq| !kept.contains(seq));
        database.changes.remove(&database.transactions, by, |change| own.contains(&change.seq));
        self.at = At::RemoveEntries;
    }

    fn remove_entries(&mut self, world: &mut World) {
        let (transaction, product, floor) = (self.transaction.unwrap(), self.product, self.floor);
        let database = &mut world.database;
        database.entries.remove(&database.transactions, transaction, |entry| {
            entry.product == product && entry.position < floor
        });
        self.at = At::RaiseFloor;
        if world.has(Defect::PurgedInTwoTransactions) {
            world.database.commit(transaction);
            self.transaction = None;
            self.has_deleted = true;
            self.at = At::LockPurge;
        }
    }

    fn raise_floor(&mut self, world: &mut World) {
        let is_forgotten = world.has(Defect::FloorChangeNotStored);
        let floor_change = if is_forgotten { None } else { self.floor_change };
        let floor = self.floor;
        world.database.update_feed(self.transaction.unwrap(), self.product, |feed| {
            feed.floor = floor;
            feed.floor_change = floor_change;
        });
        self.at = At::Commit;
    }
}
