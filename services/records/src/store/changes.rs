//! Writing changes into the feed: the last statements of every transaction that
//! changes a record.
//!
//! The order of `seq` is that of the feed. A transaction takes its numbers after
//! it has locked the records it changes, so two changes of one record have them
//! in the order of their commits; whoever sees the later one sees the earlier
//! one too. A transaction that appends more than once appends the changes of a
//! record in the order of its versions. No position is given here, and nobody is notified: that is the work
//! of the sequencer, after the commit.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ConnectionTrait, EntityName as _, IntoActiveModel as _, Iterable as _,
    sea_query::Query,
};
use shared::{
    caller::{Caller, PracticeId},
    db::{chunk_rows, insert_all},
    ids,
    pb::records::{ChangeKind, RecordKind},
};
use uuid::Uuid;

use super::{
    audit, connections,
    entities::{feed_change, feed_pending},
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
    /// Reads the audience of a change by `caller`.
    ///
    /// # Errors
    ///
    /// `PRODUCT_NOT_CONNECTED` when the caller's own product is not in it: only
    /// connected products write.
    pub(crate) async fn of(
        db: &impl ConnectionTrait,
        caller: &Caller,
    ) -> Result<Self, RecordError> {
        let connections = connections::list(db, &caller.practice).await?;
        let products: Vec<String> = connections.into_iter().map(|c| c.product).collect();
        if products.iter().any(|product| product == caller.product.as_str()) {
            Ok(Self(products))
        } else {
            Err(not_connected(caller.product.as_str()).into())
        }
    }
}

impl Audience {
    /// The audience of what happens by itself.
    pub(crate) async fn everyone(
        db: &impl ConnectionTrait,
        practice: &PracticeId,
    ) -> Result<Self, RecordError> {
        let connections = connections::list(db, practice).await?;
        Ok(Self(connections.into_iter().map(|connection| connection.product).collect()))
    }
}

/// Appends the changes that one transaction made, to the feed and to the audit.
/// Changes that nobody hears go to the audit alone.
pub(crate) async fn append(
    db: &impl ConnectionTrait,
    author: Authorship<'_>,
    audience: &Audience,
    changes: &[Change],
) -> Result<(), RecordError> {
    if changes.is_empty() {
        return Ok(());
    }
    let caller = author.caller;
    audit::insert(db, author, changes).await?;
    if audience.0.is_empty() {
        return Ok(());
    }
    let linked = linked_products(db, caller, changes).await?;
    let seqs = insert_changes(db, caller, changes, author.now).await?;
    let mut pending = Vec::with_capacity(changes.len() * audience.0.len());
    for change in changes {
        let seq = seqs.get(&change.id).copied().ok_or(RecordError::Corrupt("a change's number"))?;
        for product in &audience.0 {
            let row = feed_pending::Model {
                product: product.clone(),
                practice_id: caller.practice.to_string(),
                seq,
                linked: is_linked(caller, change, product, &linked),
            };
            pending.push(row.into_active_model());
        }
    }
    Ok(insert_all(db, pending).await?)
}

/// Whether a product counts as linked to the record of a change. One that has
/// just unlinked itself does: it should hear of that in all of its accounts.
fn is_linked(
    caller: &Caller,
    change: &Change,
    product: &str,
    linked: &HashSet<(Uuid, String)>,
) -> bool {
    let is_own = product == caller.product.as_str();
    let has = |record: &Uuid| linked.contains(&(*record, product.to_owned()));
    (is_own && (change.new_record || change.kind == ChangeKind::Unlinked))
        || has(&change.record.id)
        || change.within.iter().any(has)
}

/// Which products are linked to the records of the changes, and to those that
/// they belong to. Of a person these are looked up: the clients that it is, or
/// is a contact of. A new record has one link, to its creator, and need not be
/// looked up.
async fn linked_products(
    db: &impl ConnectionTrait,
    caller: &Caller,
    changes: &[Change],
) -> Result<HashSet<(Uuid, String)>, RecordError> {
    let known = || changes.iter().filter(|change| !change.new_record);
    let within = changes.iter().flat_map(|change| change.within.iter().copied());
    let records: HashSet<Uuid> = known().map(|change| change.record.id).chain(within).collect();
    if records.is_empty() {
        return Ok(HashSet::new());
    }
    let records: Vec<Uuid> = records.into_iter().collect();
    let persons = known().filter(|change| change.record.kind == RecordKind::Person);
    let persons: Vec<Uuid> = persons.map(|change| change.record.id).collect();
    let mut products = links::products_of(db, &caller.practice, &records).await?;
    products.extend(links::products_of_clients_of(db, &caller.practice, &persons).await?);
    Ok(products.into_iter().collect())
}

/// Inserts the rows, and reads the numbers that they were given.
async fn insert_changes(
    db: &impl ConnectionTrait,
    caller: &Caller,
    changes: &[Change],
    now: DateTime<Utc>,
) -> Result<HashMap<Uuid, i64>, RecordError> {
    let transaction = ids::new_uuid();
    let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
    let mut seqs = HashMap::with_capacity(changes.len());
    let columns = || feed_change::Column::iter().filter(|c| !matches!(c, feed_change::Column::Seq));
    let numbered: Vec<(i64, &Change)> = (0..).zip(changes).collect();
    for chunk in numbered.chunks(chunk_rows(columns().count())) {
        let mut insert = Query::insert();
        insert.into_table(feed_change::Entity.table_ref()).columns(columns()).returning(
            Query::returning().columns([feed_change::Column::Seq, feed_change::Column::Id]),
        );
        for (index, change) in chunk {
            let row = to_row(caller, change, (transaction, *index, count), now)?;
            let values = columns().map(|column| value_of(&row, column));
            insert.values(values).map_err(|_| RecordError::Corrupt("a change's columns"))?;
        }
        for row in db.query_all(&insert).await? {
            seqs.insert(row.try_get("", "id")?, row.try_get("", "seq")?);
        }
    }
    Ok(seqs)
}

fn value_of(
    row: &feed_change::ActiveModel,
    column: feed_change::Column,
) -> sea_orm::sea_query::Expr {
    use sea_orm::ActiveModelTrait as _;
    row.get(column)
        .into_value()
        .map_or(sea_orm::sea_query::Expr::null(), sea_orm::sea_query::Expr::val)
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
