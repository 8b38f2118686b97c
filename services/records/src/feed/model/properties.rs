//! The seven properties, as checks of the database, of the order of a feed, and of the
//! issued cursors.

use super::{
    cursor::{Cursor, CursorError},
    database::Database,
    observer::{IssuedCursor, Observer, Property, Violation},
    record_copy::RecordCopy,
    rows::{Change, Entry, Feed, PRODUCTS, Position, Product, RECORDS, Seq, Version, practice_of},
    setup::Defect,
    transactions::TransactionId,
    world::World,
};

/// The changes that a product must have received in the end.
pub(super) fn expected_changes(database: &Database, product: Product) -> Vec<Change> {
    let changes = database.changes.committed(&database.transactions);
    changes.filter(|change| change.recipients[product]).copied().collect()
}

/// Checks an order of changes against the expected changes.
pub(super) fn of_order(order: &[Change], expected: &[Change]) -> Vec<Violation> {
    let fail = |property, what| Violation { property, what };
    let ids = |changes: &[Change]| {
        let mut ids: Vec<_> = changes.iter().map(|change| change.id).collect();
        ids.sort_unstable();
        ids
    };
    let mut violations = Vec::new();
    let (mut arrived, expected) = (ids(order), ids(expected));
    arrived.dedup();
    if arrived.len() < order.len() {
        violations.push(fail(Property::Unique, "a change arrived twice".to_owned()));
    }
    if let Some(id) = expected.iter().find(|id| arrived.binary_search(id).is_err()) {
        violations.push(fail(Property::Complete, format!("change {id} never arrived")));
    }
    if let Some(id) = arrived.iter().find(|id| expected.binary_search(id).is_err()) {
        violations.push(fail(Property::Complete, format!("change {id} was never committed")));
    }
    let mut versions: [Version; RECORDS] = [0; RECORDS];
    for change in order {
        if change.version <= versions[change.record] {
            let what = format!("after version {} comes {change:?}", versions[change.record]);
            violations.push(fail(Property::Monotonic, what));
        }
        versions[change.record] = change.version;
    }
    violations
}

/// Commits a transaction of the feed, and checks the committed state.
pub(super) fn commit_feed(world: &mut World, id: TransactionId, product: Product) {
    world.database.commit(id);
    let mut entries: Vec<_> = world.database.entries.made_by(id).copied().collect();
    entries.sort_by_key(|entry| entry.position);
    world.observer.sequenced(&entries);
    of_feed_now(world, product);
}

/// Checks the current feed: it has all positions from the floor to the head, and no
/// others.
pub(super) fn of_feed_now(world: &mut World, product: Product) {
    let database = &world.database;
    let feed = database.feed(None, product);
    let entries = database.entries.seen(&database.transactions, None);
    let entries = entries.filter(|entry| entry.product == product);
    let (mut count, mut is_outside) = (0, false);
    for entry in entries {
        count += 1;
        is_outside |= entry.position < feed.floor || entry.position > feed.head;
    }
    let is_dense = !is_outside && count == feed.head + 1 - feed.floor;
    let is_whole = feed.head == world.observer.log(product).len();
    if !is_dense || !is_whole {
        world.observer.fail(Property::Dense, format!("{count} entries of {feed:?}"));
    }
}

/// Checks the table of changes: it has a change exactly as long as a feed needs it.
pub(super) fn of_kept_changes(world: &mut World) {
    let (database, observer) = (&world.database, &mut world.observer);
    let transactions = &database.transactions;
    let entries = database.entries.seen(transactions, None).map(|entry| entry.change.seq);
    let pending = database.pending.seen(transactions, None).map(|pending| pending.change.seq);
    let mut needed: Vec<Seq> = entries.chain(pending).collect();
    let kept = database.changes.seen(transactions, None).map(|change| change.seq);
    let mut kept: Vec<Seq> = kept.collect();
    needed.sort_unstable();
    kept.sort_unstable();
    if let Some(seq) = needed.iter().find(|seq| kept.binary_search(seq).is_err()) {
        observer.fail(Property::Complete, format!("the change of number {seq} was removed"));
    }
    if let Some(seq) = kept.iter().find(|seq| needed.binary_search(seq).is_err()) {
        observer.fail(Property::Purged, format!("the change of number {seq} is in no feed"));
    }
}

/// Returns true if a position is missing, so that a stream must not continue. Fails
/// unless a purge has removed it.
pub(super) fn has_gap(world: &mut World, after: Position, feed: &Feed, entries: &[Entry]) -> bool {
    let is_below = after + 1 < feed.floor;
    let has_gap = match entries.first() {
        Some(first) => first.position != after + 1,
        None => is_below,
    };
    let is_missing = entries.is_empty() && after < feed.head && !is_below;
    if has_gap && !is_below || is_missing {
        let what = format!("no entry at {} of {feed:?}, but {entries:?}", after + 1);
        world.observer.fail(Property::Dense, what);
    }
    has_gap && !world.has(Defect::GapsSkipped)
}

/// Checks the records that a reader of `product` has in the end. They are exact if the
/// connect of their practice had returned before the reader started, and it stayed
/// connected since. Otherwise they include at least all changes that the product
/// received, and may include others from a snapshot.
pub(super) fn of_copy(world: &mut World, product: Product, copy: &RecordCopy) {
    let mut received_versions: [Version; RECORDS] = [0; RECORDS];
    for change in expected_changes(&world.database, product) {
        received_versions[change.record] = received_versions[change.record].max(change.version);
    }
    for (record, version) in copy.versions.into_iter().enumerate() {
        let newest = world.database.version(None, record);
        let practice = practice_of(record);
        let is_trusted = world.observer.connects.holds(&copy.trusted, product, practice);
        let least = if is_trusted { newest } else { received_versions[record] };
        if version < least || version > newest {
            let what =
                format!("{version} of record {record} is in the copy; its version is {newest}");
            world.observer.fail(Property::SnapshotConsistent, what);
        }
    }
}

/// Checks a database without pending work.
pub(super) fn of_idle_world(world: &mut World) {
    assert_versions(&world.database);
    of_kept_changes(world);
    for product in 0..PRODUCTS {
        of_feed_now(world, product);
        let expected = expected_changes(&world.database, product);
        let found = of_order(world.observer.log(product), &expected);
        world.observer.violations.extend(found);
        of_issued_cursors(world, product);
    }
    let database = &world.database;
    if let Some(left) = database.pending.seen(&database.transactions, None).next() {
        let what = format!("{left:?} is still pending");
        world.observer.fail(Property::Terminating, what);
    }
}

/// Checks the model itself: every version of a record has exactly one committed change.
/// The order could not be checked otherwise.
fn assert_versions(database: &Database) {
    let mut versions: [Vec<Version>; RECORDS] = std::array::from_fn(|_| Vec::new());
    for change in database.changes.committed(&database.transactions) {
        versions[change.record].push(change.version);
    }
    for (record, versions) in versions.iter_mut().enumerate() {
        versions.sort_unstable();
        let expected: Vec<Version> = (1..=database.version(None, record)).collect();
        assert_eq!(*versions, expected, "the versions of record {record}");
    }
}

/// Checks all issued cursors: each is accepted for the same change, or rejected as too
/// old. A cursor of another product is rejected.
pub(super) fn of_issued_cursors(world: &mut World, product: Product) {
    let mut failed = Vec::new();
    for issued in &world.observer.issued_cursors {
        let verdict = world.check(&issued.cursor, product);
        let is_own = issued.cursor.product == product;
        let right = if is_own {
            verdict == expected_verdict(issued, world) && verdict != Err(CursorError::Foreign)
        } else {
            verdict.is_err()
        };
        if !right {
            failed.push(format!("{issued:?} is {verdict:?} for product {product}"));
        }
    }
    for what in failed {
        world.observer.fail(Property::CursorStable, what);
    }
}

/// The expected result of a cursor of the same product, of this or another database, by
/// the change at its position instead of the signature.
pub(super) fn expected_verdict(issued: &IssuedCursor, world: &World) -> Result<(), CursorError> {
    let IssuedCursor { cursor, change } = issued;
    let Cursor { product, epoch, position, .. } = *cursor;
    let feed = world.database.feed(None, product);
    let found = change_at(&world.observer, cursor);
    if epoch != feed.epoch {
        Err(CursorError::Foreign)
    } else if position > feed.head {
        Err(CursorError::TooNew)
    } else if position + 1 < feed.floor {
        Err(CursorError::TooOld)
    } else if found == *change {
        Ok(())
    } else {
        Err(CursorError::Foreign)
    }
}

fn change_at(observer: &Observer, cursor: &Cursor) -> Option<usize> {
    observer.change_at(cursor.product, cursor.position).map(|change| change.id)
}
