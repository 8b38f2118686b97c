//! Writing changes into the feed: the last statements of every transaction that
//! changes a record.
//!
//! The order of `seq` is that of the feed. A transaction takes its numbers after
//! it has locked the records it changes, so two changes of one record have them
//! in the order of their commits; whoever sees the later one sees the earlier
//! one too. A transaction that appends more than once appends the changes of a
//! record in the order of its versions. No position is given here, and nobody is
//! notified: that is the work of the sequencer, after the commit.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ConnectionTrait, DbBackend, Value,
};
use shared::{
    caller::{Caller, PracticeId},
    db::{Column, Parameters, Writes, columns_of, names, values_of},
    ids,
    pb::records::{ChangeKind, RecordKind},
};
use uuid::Uuid;

use super::{
    audit, connections,
    entities::feed_change,
    links,
    text::{Stored as _, to_json},
};
use crate::{
    domain::{
        change::{Authorship, Change},
        record::RecordRef,
    },
    error::{RecordError, not_connected},
};

/// The products that hear what a transaction does: those connected to the
/// practice when it looked.
#[derive(Debug)]
pub(crate) struct Audience(Vec<String>);

impl Audience {
    /// The audience of a change by `caller`: the products that are connected.
    ///
    /// # Errors
    ///
    /// `PRODUCT_NOT_CONNECTED` when the caller's own product is not in it: only
    /// connected products write.
    pub(crate) fn of(caller: &Caller, products: Vec<String>) -> Result<Self, RecordError> {
        if products.iter().any(|product| product == caller.product.as_str()) {
            Ok(Self(products))
        } else {
            Err(not_connected(caller.product.as_str()).into())
        }
    }

    /// The audience of what happens by itself.
    pub(crate) async fn everyone(
        db: &impl ConnectionTrait,
        practice: &PracticeId,
    ) -> Result<Self, RecordError> {
        Ok(Self(connections::products(db, practice).await?))
    }
}

/// Which products are linked to which records.
pub(crate) type Linked = HashSet<(Uuid, String)>;

/// Appends the changes that one transaction made, to the feed and to the audit.
/// Changes that nobody hears go to the audit alone.
pub(crate) fn append(
    writes: &mut Writes,
    author: Authorship<'_>,
    audience: &Audience,
    linked: &Linked,
    changes: &[Change],
) -> Result<(), RecordError> {
    audit::insert(writes, author, changes)?;
    if audience.0.is_empty() || changes.is_empty() {
        return Ok(());
    }
    insert_changes(writes, author.caller, changes, author.now)?;
    insert_pending(writes, author.caller, audience, linked, changes);
    Ok(())
}

/// Whether a product counts as linked to the record of a change. One that has
/// just unlinked itself does: it should hear of that in all of its accounts.
fn is_linked(caller: &Caller, change: &Change, product: &str, linked: &Linked) -> bool {
    let is_own = product == caller.product.as_str();
    let has = |record: &Uuid| linked.contains(&(*record, product.to_owned()));
    (is_own && (change.new_record || change.kind == ChangeKind::Unlinked))
        || has(&change.record.id)
        || change.within.iter().any(has)
}

/// Whether [`linked_products`] has anything to look up.
pub(crate) fn need_links(changes: &[Change]) -> bool {
    changes.iter().any(|change| !change.new_record || !change.within.is_empty())
}

/// Which products are linked to the records of the changes, and to those that
/// they belong to. Of a person these are looked up: the clients that it is, or
/// is a contact of. A new record has one link, to its creator, and need not be
/// looked up.
pub(crate) async fn linked_products(
    db: &impl ConnectionTrait,
    caller: &Caller,
    changes: &[Change],
) -> Result<Linked, RecordError> {
    let known = || changes.iter().filter(|change| !change.new_record);
    let within = changes.iter().flat_map(|change| change.within.iter().copied());
    let records: HashSet<Uuid> = known().map(|change| change.record.id).chain(within).collect();
    let records: Vec<Uuid> = records.into_iter().collect();
    let persons = known().filter(|change| change.record.kind == RecordKind::Person);
    let persons: Vec<Uuid> = persons.map(|change| change.record.id).collect();
    let mut products = links::products_of(db, &caller.practice, &records).await?;
    products.extend(links::products_of_clients_of(db, &caller.practice, &persons).await?);
    Ok(products.into_iter().collect())
}

/// What gives their numbers back to [`insert_pending`], on PostgreSQL.
const NUMBERED: &str = "numbered";

/// Adds the rows, which are numbered in their order.
fn insert_changes(
    writes: &mut Writes,
    caller: &Caller,
    changes: &[Change],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let (transaction, count) = (ids::new_uuid(), length(changes));
    let rows = (0..).zip(changes).map(|(index, change)| {
        Ok(values_of(to_row(caller, change, (transaction, index, count), now)?).split_off(1))
    });
    let rows = rows.collect::<Result<Vec<Vec<Value>>, RecordError>>()?;
    // Without the number, which the table gives.
    let columns = columns_of::<feed_change::ActiveModel>().split_off(1);
    if writes.engine() == DbBackend::Postgres {
        writes.add_named(NUMBERED, |parameters| {
            let list = parameters.list(&columns, rows);
            let names = names(&columns);
            format!("INSERT INTO feed_change ({names}) {list} RETURNING seq, id")
        });
    } else {
        writes.insert_list("feed_change", &columns, rows);
    }
    Ok(())
}

fn length(changes: &[Change]) -> i64 {
    i64::try_from(changes.len()).unwrap_or(i64::MAX)
}

/// Adds a row for each change and product.
fn insert_pending(
    writes: &mut Writes,
    caller: &Caller,
    audience: &Audience,
    linked: &Linked,
    changes: &[Change],
) {
    let is_postgres = writes.engine() == DbBackend::Postgres;
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(changes.len() * audience.0.len());
    for (change, later) in changes.iter().zip((0..length(changes)).rev()) {
        for product in &audience.0 {
            let number: Value = if is_postgres { change.id.into() } else { later.into() };
            let linked = is_linked(caller, change, product, linked);
            rows.push(vec![number, product.as_str().into(), linked.into()]);
        }
    }
    let columns = [Column::of("change"), Column::of("product"), Column::of("linked")];
    for part in writes.parts(rows, columns.len()) {
        writes.make_room(part.len() * columns.len() + 1);
        writes.add(|parameters| pending_sql(parameters, caller, &columns, part));
    }
}

/// On PostgreSQL the numbers are those that were given back. On SQLite, where the
/// transaction is the only one that writes, they are the last ones of the table.
fn pending_sql(
    parameters: &mut Parameters,
    caller: &Caller,
    columns: &[Column<'_>],
    rows: Vec<Vec<Value>>,
) -> String {
    let list = parameters.list(columns, rows);
    let practice = parameters.bind(caller.practice.as_str());
    let (seq, numbers) = if parameters.engine() == DbBackend::Postgres {
        ("n.seq", format!("JOIN {NUMBERED} n ON n.id = v.change"))
    } else {
        let numbers = "CROSS JOIN (SELECT MAX(seq) AS last FROM feed_change) n".to_owned();
        ("n.last - v.change", numbers)
    };
    format!(
        "INSERT INTO feed_pending (product, practice_id, seq, linked) \
         WITH v({}) AS ({list}) SELECT v.product, {practice}, {seq}, v.linked FROM v {numbers}",
        names(columns)
    )
}

fn to_row(
    caller: &Caller,
    change: &Change,
    (transaction, index, count): (Uuid, i64, i64),
    now: DateTime<Utc>,
) -> Result<feed_change::ActiveModel, RecordError> {
    let Change { id, record, version, kind, entry_id, companions, changed_fields, .. } = change;
    let companions = companions.iter().map(|record| RecordRef::text(*record));
    Ok(feed_change::ActiveModel {
        seq: NotSet,
        id: Set(*id),
        practice_id: Set(caller.practice.to_string()),
        record_kind: Set(record.kind.stored()),
        record_id: Set(record.id),
        record_version: Set(*version),
        kind: Set(kind.stored()),
        changed_fields: Set(to_json(changed_fields)?),
        entry_id: Set(*entry_id),
        companions: Set(to_json(&companions.collect::<Vec<_>>())?),
        origin_product: Set(caller.product.to_string()),
        origin_account: Set(caller.account.to_string()),
        origin_user: Set(caller.user.clone()),
        import_id: Set(caller.import),
        transaction_id: Set(transaction),
        transaction_index: Set(index),
        transaction_count: Set(count),
        changed_at: Set(now),
    })
}
