//! The outbox: appends changes to the feed, in the last statements of every transaction
//! that changes a record.
//!
//! The feed is ordered by `seq`. A transaction takes its sequence numbers after it has
//! locked the records that it changes, so two changes of one record have them in the order
//! of their commits, and a reader that sees the later one sees the earlier one too. A
//! transaction that appends more than once appends the changes of a record in the order of
//! its versions. The sequencer assigns positions and notifies subscribers after the commit.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use concord_core::{caller::Caller, ids};
use concord_db::{Binds, Column, StatementBatch, TenantDb, column_names, columns_of, values_of};
use concord_proto::pb::records::{ChangeKind, RecordKind};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ConnectionTrait, DbBackend, Value,
};
use uuid::Uuid;

use super::{
    audit, connections,
    entities::feed_change,
    links,
    stored::{Stored as _, to_json},
};
use crate::{
    domain::{
        change::{Authorship, Change},
        record::RecordRef,
    },
    error::{RecordError, not_connected},
};

/// The products that receive the changes of a transaction: those connected to the
/// practice when the transaction read the connections.
#[derive(Debug)]
pub(crate) struct Recipients(Vec<String>);

impl Recipients {
    /// The recipients of a change by `caller`, of the connected `products`.
    ///
    /// # Errors
    ///
    /// `PRODUCT_NOT_CONNECTED` if the caller's own product is not among them: only
    /// connected products may write.
    pub(crate) fn of(caller: &Caller, products: Vec<String>) -> Result<Self, RecordError> {
        if products.iter().any(|product| product == caller.product.as_str()) {
            Ok(Self(products))
        } else {
            Err(not_connected(caller.product.as_str()).into())
        }
    }

    /// The recipients of a change by the system: all connected products.
    pub(crate) async fn all_products(
        db: TenantDb<'_, impl ConnectionTrait>,
    ) -> Result<Self, RecordError> {
        Ok(Self(connections::products(db).await?))
    }
}

/// Pairs of a record and a product that is linked to it.
pub(crate) type Linked = HashSet<(Uuid, String)>;

/// Appends the changes of a transaction to the feed and to the audit log. Changes without
/// recipients go to the audit log only.
pub(crate) fn append(
    batch: &mut StatementBatch,
    author: Authorship<'_>,
    recipients: &Recipients,
    linked: &Linked,
    changes: &[Change],
) -> Result<(), RecordError> {
    audit::insert(batch, author, changes)?;
    if recipients.0.is_empty() || changes.is_empty() {
        return Ok(());
    }
    insert_changes(batch, author.caller, changes, author.now)?;
    insert_pending(batch, author.caller, recipients, linked, changes);
    Ok(())
}

/// True if a product counts as linked to the record of a change. A product that has just
/// unlinked the record still counts, so that all of its accounts receive the change.
fn is_linked(caller: &Caller, change: &Change, product: &str, linked: &Linked) -> bool {
    let is_own = product == caller.product.as_str();
    let has = |record: &Uuid| linked.contains(&(*record, product.to_owned()));
    (is_own && (change.new_record || change.kind == ChangeKind::Unlinked))
        || has(&change.record.id)
        || change.within.iter().any(has)
}

/// True if [`linked_products`] needs a query for these changes.
pub(crate) fn need_links(changes: &[Change]) -> bool {
    changes.iter().any(|change| !change.new_record || !change.within.is_empty())
}

/// Reads which products are linked to the records of the changes, and to the records that
/// they belong to. For a person these are the clients that it is, or is a contact of. New
/// records are not looked up: their only link is the creator's.
pub(crate) async fn linked_products(
    db: TenantDb<'_, impl ConnectionTrait>,
    changes: &[Change],
) -> Result<Linked, RecordError> {
    let known = || changes.iter().filter(|change| !change.new_record);
    let within = changes.iter().flat_map(|change| change.within.iter().copied());
    let records: HashSet<Uuid> = known().map(|change| change.record.id).chain(within).collect();
    let records: Vec<Uuid> = records.into_iter().collect();
    let persons = known().filter(|change| change.record.kind == RecordKind::Person);
    let persons: Vec<Uuid> = persons.map(|change| change.record.id).collect();
    let mut products = links::products_of(db, &records).await?;
    products.extend(links::products_of_clients_of(db, &persons).await?);
    Ok(products.into_iter().collect())
}

/// The name of the CTE that returns the sequence numbers to [`insert_pending`], on
/// PostgreSQL.
const NUMBERED: &str = "numbered";

/// Adds the rows of `feed_change`. The table assigns sequence numbers in their order.
fn insert_changes(
    batch: &mut StatementBatch,
    caller: &Caller,
    changes: &[Change],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let (transaction, count) = (ids::new_uuid(), length(changes));
    let rows = (0..).zip(changes).map(|(index, change)| {
        Ok(values_of(to_row(caller, change, (transaction, index, count), now)?).split_off(1))
    });
    let rows = rows.collect::<Result<Vec<Vec<Value>>, RecordError>>()?;
    // Without `seq`, which the table assigns.
    let columns = columns_of::<feed_change::ActiveModel>().split_off(1);
    if batch.engine() == DbBackend::Postgres {
        batch.add_named(NUMBERED, |binds| {
            let list = binds.list(&columns, rows);
            let names = column_names(&columns);
            format!("INSERT INTO feed_change ({names}) {list} RETURNING seq, id")
        });
    } else {
        batch.insert_list("feed_change", &columns, rows);
    }
    Ok(())
}

fn length(changes: &[Change]) -> i64 {
    i64::try_from(changes.len()).unwrap_or(i64::MAX)
}

/// Adds the rows of `feed_pending`: one for each change and recipient.
fn insert_pending(
    batch: &mut StatementBatch,
    caller: &Caller,
    recipients: &Recipients,
    linked: &Linked,
    changes: &[Change],
) {
    let is_postgres = batch.engine() == DbBackend::Postgres;
    let mut rows: Vec<Vec<Value>> = Vec::with_capacity(changes.len() * recipients.0.len());
    for (change, later) in changes.iter().zip((0..length(changes)).rev()) {
        for product in &recipients.0 {
            let number: Value = if is_postgres { change.id.into() } else { later.into() };
            let linked = is_linked(caller, change, product, linked);
            rows.push(vec![number, product.as_str().into(), linked.into()]);
        }
    }
    let columns = [Column::of("change"), Column::of("product"), Column::of("linked")];
    for part in batch.chunks(rows, columns.len()) {
        batch.reserve_binds(part.len() * columns.len() + 1);
        batch.add(|binds| pending_sql(binds, caller, &columns, part));
    }
}

/// The statement that inserts pending rows. On PostgreSQL the CTE returns the sequence
/// numbers. On SQLite, which has a single writer, they are the last ones of the table.
fn pending_sql(
    binds: &mut Binds,
    caller: &Caller,
    columns: &[Column<'_>],
    rows: Vec<Vec<Value>>,
) -> String {
    let list = binds.list(columns, rows);
    let practice = binds.bind(caller.practice.as_str());
    let (seq, numbers) = if binds.engine() == DbBackend::Postgres {
        ("n.seq", format!("JOIN {NUMBERED} n ON n.id = v.change"))
    } else {
        let numbers = "CROSS JOIN (SELECT MAX(seq) AS last FROM feed_change) n".to_owned();
        ("n.last - v.change", numbers)
    };
    format!(
        "INSERT INTO feed_pending (product, practice_id, seq, linked) \
         WITH v({}) AS ({list}) SELECT v.product, {practice}, {seq}, v.linked FROM v {numbers}",
        column_names(columns)
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
