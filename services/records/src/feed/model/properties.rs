//! The seven properties: what of the database, of the order of a feed and of
//! what was handed out must hold.

use super::{
    cursor::{Cursor, Refusal},
    database::Database,
    held::Held,
    rows::{Change, Entry, Feed, PRODUCTS, Position, Product, RECORDS, Seq, Version, practice_of},
    setup::Defect,
    witness::{Bookmark, Property, Violation, Witness},
    world::World,
};

/// The changes that a product must have heard of in the end.
pub(super) fn heard(database: &Database, product: Product) -> Vec<Change> {
    let changes = database.changes.committed(&database.transactions);
    changes.filter(|change| change.audience[product]).copied().collect()
}

/// Of the order in which changes came, whichever way it came about.
pub(super) fn of_order(order: &[Change], heard: &[Change]) -> Vec<Violation> {
    let fail = |property, what| Violation { property, what };
    let ids = |changes: &[Change]| {
        let mut ids: Vec<_> = changes.iter().map(|change| change.id).collect();
        ids.sort_unstable();
        ids
    };
    let mut violations = Vec::new();
    let (mut came, expected) = (ids(order), ids(heard));
    came.dedup();
    if came.len() < order.len() {
        violations.push(fail(Property::Unique, "a change came twice".to_owned()));
    }
    if let Some(id) = expected.iter().find(|id| came.binary_search(id).is_err()) {
        violations.push(fail(Property::Complete, format!("change {id} never came")));
    }
    if let Some(id) = came.iter().find(|id| expected.binary_search(id).is_err()) {
        violations.push(fail(Property::Complete, format!("change {id} never was committed")));
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

/// Of a feed as it can be read just now: all from the floor to the head, and
/// nothing else.
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
    let is_whole = feed.head == world.witness.log(product).len();
    if !is_dense || !is_whole {
        world.witness.fail(Property::Dense, format!("{count} entries of {feed:?}"));
    }
}

/// Of the changes beside the feeds: each is kept as long as it is needed, and no
/// longer.
pub(super) fn of_kept_changes(world: &mut World) {
    let (database, witness) = (&world.database, &mut world.witness);
    let transactions = &database.transactions;
    let entries = database.entries.seen(transactions, None).map(|entry| entry.change.seq);
    let pending = database.pending.seen(transactions, None).map(|pending| pending.change.seq);
    let mut needed: Vec<Seq> = entries.chain(pending).collect();
    let kept = database.changes.seen(transactions, None).map(|change| change.seq);
    let mut kept: Vec<Seq> = kept.collect();
    needed.sort_unstable();
    kept.sort_unstable();
    if let Some(seq) = needed.iter().find(|seq| kept.binary_search(seq).is_err()) {
        witness.fail(Property::Complete, format!("the change of number {seq} was removed"));
    }
    if let Some(seq) = kept.iter().find(|seq| needed.binary_search(seq).is_err()) {
        witness.fail(Property::Purged, format!("the change of number {seq} is in no feed"));
    }
}

/// What a stream does not step over: a position is missing. Only a purge
/// may be the reason.
pub(super) fn is_torn(world: &mut World, after: Position, feed: &Feed, entries: &[Entry]) -> bool {
    let is_below = after + 1 < feed.floor;
    let is_torn = match entries.first() {
        Some(first) => first.position != after + 1,
        None => is_below,
    };
    let is_missing = entries.is_empty() && after < feed.head && !is_below;
    if is_torn && !is_below || is_missing {
        let what = format!("nothing at {} of {feed:?}, but {entries:?}", after + 1);
        world.witness.fail(Property::Dense, what);
    }
    is_torn && !world.has(Defect::HolesSteppedOver)
}

/// Of the records that a reader of `product` holds in the end: each as it is,
/// where the product was connected, by an answer, before it began, and ever since.
/// Elsewhere, of what the product has heard nothing is missing; a change that it
/// has not heard of it may have seen, in a snapshot.
pub(super) fn of_copy(world: &mut World, product: Product, held: &Held) {
    let mut heard_of: [Version; RECORDS] = [0; RECORDS];
    for change in heard(&world.database, product) {
        heard_of[change.record] = heard_of[change.record].max(change.version);
    }
    for (record, version) in held.versions.into_iter().enumerate() {
        let newest = world.database.version(None, record);
        let practice = practice_of(record);
        let is_trusted = world.witness.connects.holds(&held.trusted, product, practice);
        let least = if is_trusted { newest } else { heard_of[record] };
        if version < least || version > newest {
            let what = format!("{version} of record {record} is held; its version is {newest}");
            world.witness.fail(Property::Copied, what);
        }
    }
}

/// Of a database that has come to rest.
pub(super) fn at_rest(world: &mut World) {
    assert_versions(&world.database);
    of_kept_changes(world);
    for product in 0..PRODUCTS {
        of_feed_now(world, product);
        let heard = heard(&world.database, product);
        let found = of_order(world.witness.log(product), &heard);
        world.witness.violations.extend(found);
        of_bookmarks(world, product);
    }
    let database = &world.database;
    if let Some(left) = database.pending.seen(&database.transactions, None).next() {
        let what = format!("{left:?} is still pending");
        world.witness.fail(Property::Settled, what);
    }
}

/// Of the model itself: every version of a record has one change that was
/// committed, or nothing could be said of their order.
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

/// Every cursor that was ever handed out is accepted as what it was, or refused
/// as too old. That of another product is never accepted.
pub(super) fn of_bookmarks(world: &mut World, product: Product) {
    let mut failed = Vec::new();
    for bookmark in &world.witness.bookmarks {
        let verdict = world.check(&bookmark.cursor, product);
        let is_own = bookmark.cursor.product == product;
        let right = if is_own {
            verdict == truth(bookmark, world) && verdict != Err(Refusal::Foreign)
        } else {
            verdict.is_err()
        };
        if !right {
            failed.push(format!("{bookmark:?} is {verdict:?} for product {product}"));
        }
    }
    for what in failed {
        world.witness.fail(Property::Bookmarkable, what);
    }
}

/// What has to be said of a cursor of the same product, of this database or of
/// another: by what stood there, and not by its seal.
pub(super) fn truth(bookmark: &Bookmark, world: &World) -> Result<(), Refusal> {
    let Bookmark { cursor, change } = bookmark;
    let Cursor { product, epoch, position, .. } = *cursor;
    let feed = world.database.feed(None, product);
    let stands = stands_at(&world.witness, cursor);
    if epoch != feed.epoch {
        Err(Refusal::Foreign)
    } else if position > feed.head {
        Err(Refusal::TooNew)
    } else if position + 1 < feed.floor {
        Err(Refusal::TooOld)
    } else if stands == *change {
        Ok(())
    } else {
        Err(Refusal::Foreign)
    }
}

fn stands_at(witness: &Witness, cursor: &Cursor) -> Option<usize> {
    witness.change_at(cursor.product, cursor.position).map(|change| change.id)
}
