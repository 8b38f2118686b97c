//! The sequencer: `store::feed::sequence`, step by step.
//!
//! Other actors may run between any two steps, and a transaction sequences one product.
//! The store allows fewer interleavings: the steps after the lock are one statement on
//! PostgreSQL, each product of a transaction is locked before its own steps, and the
//! steps of one product read nothing of another.

use super::{
    batch::{self, MAX_SKIPPED_BATCHES},
    database::Lock,
    properties,
    rows::{Entry, Feed, PRODUCTS, Pending, Practice, Product, Seq, practice_of},
    setup::Defect,
    transactions::TransactionId,
    world::{Step, World},
};

#[derive(Clone, Copy, Debug)]
enum At {
    /// Finds the products with pending rows.
    FindPending,
    /// Begins the transaction, and waits for the lock on the product's row.
    Lock,
    /// Assigns the positions.
    Take,
    DeleteTaken,
    Advance,
    Commit,
    /// Only with a [`Defect`].
    DeleteLater(Product),
}

#[derive(Debug)]
pub(super) struct Sequencer {
    name: usize,
    at: At,
    /// The products that are still to be sequenced.
    products: Vec<Product>,
    transaction: Option<TransactionId>,
    is_waiting: bool,
    /// The feed as it was locked.
    feed: Option<Feed>,
    /// The pending rows when the locking statement started.
    pending_before: Vec<Pending>,
    has_taken: bool,
    /// The practices with pending rows, none of which were taken.
    skipped: Vec<Practice>,
    left_to_delete: Vec<Seq>,
}

impl Sequencer {
    pub(super) fn new(name: usize) -> Self {
        Self {
            name,
            at: At::FindPending,
            products: Vec::new(),
            transaction: None,
            is_waiting: false,
            feed: None,
            pending_before: Vec::new(),
            has_taken: false,
            skipped: Vec::new(),
            left_to_delete: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, world: &mut World) -> Step {
        if let Some(transaction) = self.transaction
            && world.fails_once_in(25)
        {
            world.log_step(|| format!("sequencer {}: crashes at {:?}", self.name, self.at));
            world.coverage.sequencer_crashes += 1;
            world.database.abort(transaction);
            self.finish();
            self.products.clear();
            return Step::Progressed;
        }
        match self.at {
            At::FindPending => self.find_pending(world),
            At::Lock => self.lock(world),
            At::Take => self.take(world),
            At::DeleteTaken => self.delete_taken(world),
            At::Advance => self.advance(world),
            At::Commit => self.commit(world),
            At::DeleteLater(product) => self.delete_later(world, product),
        }
    }

    fn finish(&mut self) {
        self.at = At::FindPending;
        self.transaction = None;
        self.feed = None;
        self.is_waiting = false;
        self.has_taken = false;
    }

    /// `products_with_pending`, after the products found before are done.
    fn find_pending(&mut self, world: &mut World) -> Step {
        if self.products.is_empty() {
            let mut has_pending = [false; PRODUCTS];
            let database = &world.database;
            for pending in database.pending.seen(&database.transactions, None) {
                has_pending[pending.product] = true;
            }
            self.products = (0..PRODUCTS).filter(|product| has_pending[*product]).collect();
            if self.products.is_empty() {
                return Step::Idle;
            }
        }
        self.at = At::Lock;
        Step::Progressed
    }

    fn product(&self) -> Product {
        *self.products.last().unwrap()
    }

    /// `SELECT … FOR UPDATE`. After the wait it sees the current row. Any other row of
    /// the same statement would be read as of its start.
    fn lock(&mut self, world: &mut World) -> Step {
        let product = self.product();
        let transaction = *self.transaction.get_or_insert_with(|| world.database.begin());
        if !self.is_waiting {
            if world.has(Defect::PendingReadBeforeLock) {
                self.pending_before = batch::pending_of(world, transaction, product);
            }
            self.feed = Some(world.database.feed(Some(transaction), product));
        }
        if !world.database.lock(transaction, Lock::Feed(product)) {
            if !self.is_waiting {
                world.coverage.sequencer_waits += 1;
                world.log_step(|| format!("sequencer {}: waits for product {product}", self.name));
            }
            self.is_waiting = true;
            return Step::Waiting;
        }
        if !world.has(Defect::HeadReadBeforeLock) {
            self.feed = Some(world.database.feed(Some(transaction), product));
        }
        world.log_step(|| format!("sequencer {}: locks {:?}", self.name, self.feed));
        self.at = At::Take;
        Step::Progressed
    }

    /// `INSERT INTO feed_entry … SELECT`.
    fn take(&mut self, world: &mut World) -> Step {
        let (transaction, feed) = (self.transaction.unwrap(), self.feed.unwrap());
        let pending = if world.has(Defect::PendingReadBeforeLock) {
            std::mem::take(&mut self.pending_before)
        } else {
            batch::pending_of(world, transaction, feed.product)
        };
        let taken = batch::choose(world, &pending, feed.last_practice);
        if taken.len() < pending.len() {
            world.coverage.full_batches += 1;
        }
        for (position, pending) in (feed.head + 1..).zip(&taken) {
            let entry = Entry { product: feed.product, position, change: pending.change };
            world.database.entries.insert(transaction, entry);
            world.log_step(|| format!("sequencer {}: {entry:?}", self.name));
        }
        let is_served = |practice| taken.iter().any(|taken| taken.practice() == practice);
        self.skipped = pending.iter().map(Pending::practice).collect();
        self.skipped.retain(|practice| !is_served(*practice));
        self.has_taken = !taken.is_empty();
        self.at = if self.has_taken { At::DeleteTaken } else { At::Commit };
        Step::Progressed
    }

    /// The entries that this transaction has inserted: those above the head.
    fn entries(&self, world: &World) -> Vec<Entry> {
        let (database, feed) = (&world.database, self.feed.unwrap());
        let entries = database.entries.seen(&database.transactions, self.transaction);
        let is_new = |entry: &&Entry| entry.product == feed.product && entry.position > feed.head;
        entries.filter(is_new).copied().collect()
    }

    fn delete_taken(&mut self, world: &mut World) -> Step {
        let transaction = self.transaction.unwrap();
        let product = self.product();
        let mut seqs: Vec<Seq> = self.entries(world).iter().map(|entry| entry.change.seq).collect();
        if world.has(Defect::LastTakenNotDeleted) {
            // The last inserted row comes first.
            seqs.remove(0);
        }
        if world.has(Defect::SequencedInTwoTransactions) {
            self.left_to_delete = std::mem::take(&mut seqs);
        }
        let is_taken = |row: &Pending| row.product == product && seqs.contains(&row.change.seq);
        let database = &mut world.database;
        database.pending.remove(&database.transactions, transaction, is_taken);
        self.at = At::Advance;
        Step::Progressed
    }

    fn advance(&mut self, world: &mut World) -> Step {
        let (transaction, feed) = (self.transaction.unwrap(), self.feed.unwrap());
        let entries = self.entries(world);
        let practices = || entries.iter().map(|entry| practice_of(entry.change.record));
        let gone_round = practices().filter(|practice| *practice <= feed.last_practice).max();
        let last_practice = gone_round.or(practices().max()).unwrap_or(feed.last_practice);
        let head = feed.head + entries.len();
        world.database.update_feed(transaction, feed.product, |feed| {
            feed.head = head;
            feed.last_practice = last_practice;
        });
        self.at = At::Commit;
        Step::Progressed
    }

    fn commit(&mut self, world: &mut World) -> Step {
        let product = self.product();
        properties::commit_feed(world, self.transaction.unwrap(), product);
        world.log_step(|| format!("sequencer {}: commits", self.name));
        world.coverage.batches += usize::from(self.has_taken);
        world.observer.skipped(product, &self.skipped, MAX_SKIPPED_BATCHES);
        self.finish();
        self.products.pop();
        if !self.left_to_delete.is_empty() {
            self.at = At::DeleteLater(product);
        }
        Step::Progressed
    }

    fn delete_later(&mut self, world: &mut World, product: Product) -> Step {
        let seqs = std::mem::take(&mut self.left_to_delete);
        let is_taken = |row: &Pending| row.product == product && seqs.contains(&row.change.seq);
        let database = &mut world.database;
        let transaction = database.begin();
        database.pending.remove(&database.transactions, transaction, is_taken);
        database.commit(transaction);
        self.at = At::FindPending;
        Step::Progressed
    }
}
