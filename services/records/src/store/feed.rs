//! The feed's tables: sequencing pending changes, reading positions.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, EntityTrait as _, FromQueryResult, QuerySelect as _, Statement};
use shared::{
    caller::Product,
    pb::records::{ChangeKind, RecordKind},
};
use uuid::Uuid;

use super::{
    entities::{feed_change, feed_product},
    text::{Stored as _, from_json},
};
use crate::{domain::record::RecordRef, error::RecordError};

/// At most this many changes get their positions in one transaction.
const BATCH: i64 = 5_000;
/// At most this many of them are of one practice, so that its import does not
/// hold up the others.
const BATCH_OF_PRACTICE: i64 = 200;

/// The ends of a product's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedEnds {
    /// Changes with every database; a cursor of another one is recognised.
    pub(crate) epoch: Uuid,
    /// The newest position; 0 when there is none.
    pub(crate) head: i64,
    /// The oldest position that is kept, or would be.
    pub(crate) floor: i64,
}

/// A change at its position, as it was written.
#[derive(Clone, Debug)]
pub(crate) struct FeedRow {
    pub(crate) position: i64,
    pub(crate) linked: bool,
    pub(crate) id: Uuid,
    pub(crate) practice: String,
    pub(crate) record: RecordRef,
    pub(crate) version: i64,
    pub(crate) kind: ChangeKind,
    pub(crate) changed_fields: Vec<String>,
    pub(crate) entry_id: Option<Uuid>,
    pub(crate) companions: Vec<RecordRef>,
    pub(crate) origin_product: String,
    pub(crate) origin_account: String,
    pub(crate) origin_user: String,
    pub(crate) import_id: Option<Uuid>,
    pub(crate) transaction_id: Uuid,
    pub(crate) transaction_index: i64,
    pub(crate) transaction_count: i64,
    pub(crate) changed_at: DateTime<Utc>,
}

/// The products that have changes without positions.
pub(crate) async fn products_with_pending(
    db: &impl ConnectionTrait,
) -> Result<Vec<String>, RecordError> {
    let sql = "SELECT f.product FROM feed_product f \
               WHERE EXISTS (SELECT 1 FROM feed_pending p WHERE p.product = f.product) \
               ORDER BY f.product";
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let rows = db.query_all_raw(statement).await?;
    Ok(rows.iter().map(|row| row.try_get("", "product")).collect::<Result<_, _>>()?)
}

/// Gives the oldest pending changes of `product` the next positions; says how
/// many.
///
/// The lock on the product's row makes sequencers of different replicas take
/// turns. READ COMMITTED is essential on PostgreSQL: the statements after the
/// lock must see what was committed while it was waited for.
pub(crate) async fn sequence(
    db: &impl ConnectionTrait,
    product: &str,
    now: DateTime<Utc>,
) -> Result<i64, RecordError> {
    let feed = feed_product::Entity::find_by_id(product).lock_exclusive().one(db).await?;
    let Some(feed) = feed else { return Ok(0) };
    let engine = db.get_database_backend();
    let values = [product.into(), feed.last_practice.as_str().into(), feed.head.into(), now.into()];
    let taken = db.execute_raw(Statement::from_sql_and_values(engine, take_sql(), values)).await?;
    let count = i64::try_from(taken.rows_affected()).unwrap_or_default();
    if count == 0 {
        return Ok(0);
    }
    let values = [product.into(), feed.head.into()];
    db.execute_raw(Statement::from_sql_and_values(engine, DELETE_TAKEN, values)).await?;
    let values = [
        product.into(),
        (feed.head + count).into(),
        feed.head.into(),
        feed.last_practice.as_str().into(),
    ];
    db.execute_raw(Statement::from_sql_and_values(engine, ADVANCE, values)).await?;
    Ok(count)
}

/// Takes pending rows: practice after practice, beginning after the one that
/// was served last (`$2`) and going round, the oldest of each. Positions follow
/// `seq`, so that the changes of a practice stay in their order.
///
/// `upto` is the last row that a practice may have in this batch: found once
/// for each practice, it makes the rest a walk along the primary key.
fn take_sql() -> String {
    let practices = BATCH / BATCH_OF_PRACTICE;
    let skip = BATCH_OF_PRACTICE - 1;
    let next = |above: &str| {
        format!("SELECT MIN(q.practice_id) FROM feed_pending q WHERE q.product = $1 AND {above}")
    };
    format!(
        "WITH RECURSIVE later(n, id) AS ( \
           SELECT 1, ({first_later}) \
           UNION ALL \
           SELECT n + 1, ({next_later}) FROM later WHERE id IS NOT NULL AND n < {practices} \
         ), earlier(n, id) AS ( \
           SELECT {practices} + 1, ({first_earlier}) \
           UNION ALL \
           SELECT n + 1, ({next_earlier}) FROM earlier \
           WHERE id IS NOT NULL AND n < 2 * {practices} \
         ), served(id) AS ( \
           SELECT id FROM (SELECT * FROM later UNION ALL SELECT * FROM earlier) AS either \
           WHERE id IS NOT NULL ORDER BY n LIMIT {practices} \
         ), bounded(id, upto) AS ( \
           SELECT id, COALESCE((SELECT x.seq FROM feed_pending x \
             WHERE x.product = $1 AND x.practice_id = served.id \
             ORDER BY x.seq LIMIT 1 OFFSET {skip}), {no_bound}) FROM served \
         ), taken AS ( \
           SELECT p.practice_id, p.seq, p.linked FROM bounded \
           JOIN feed_pending p ON p.product = $1 AND p.practice_id = bounded.id \
             AND p.seq <= bounded.upto \
         ) \
         INSERT INTO feed_entry(product, pos, seq, practice_id, linked, sequenced_at) \
         SELECT $1, $3 + ROW_NUMBER() OVER (ORDER BY seq), seq, practice_id, linked, $4 FROM taken",
        first_later = next("q.practice_id > $2"),
        next_later = next("q.practice_id > later.id"),
        first_earlier = next("q.practice_id <= $2"),
        next_earlier = next("q.practice_id > earlier.id AND q.practice_id <= $2"),
        no_bound = i64::MAX,
    )
}

const DELETE_TAKEN: &str = "DELETE FROM feed_pending WHERE product = $1 \
    AND (practice_id, seq) IN (SELECT practice_id, seq FROM feed_entry \
      WHERE product = $1 AND pos > $2)";

/// Moves the head, and remembers the practice that was served last: the
/// greatest of those that were reached by going round, or else of all.
const ADVANCE: &str = "UPDATE feed_product SET head = $2, last_practice = COALESCE( \
    (SELECT MAX(practice_id) FROM feed_entry \
     WHERE product = $1 AND pos > $3 AND practice_id <= $4), \
    (SELECT MAX(practice_id) FROM feed_entry WHERE product = $1 AND pos > $3) \
    ) WHERE product = $1";

/// The ends of a product's feed; none when it was never connected anywhere.
pub(crate) async fn ends(
    db: &impl ConnectionTrait,
    product: &Product,
) -> Result<Option<FeedEnds>, RecordError> {
    let row = feed_product::Entity::find_by_id(product.as_str()).one(db).await?;
    Ok(row.map(|row| FeedEnds { epoch: row.epoch, head: row.head, floor: row.floor }))
}

/// The id of the change at a position, when it is kept.
pub(crate) async fn change_at(
    db: &impl ConnectionTrait,
    product: &Product,
    position: i64,
) -> Result<Option<Uuid>, RecordError> {
    let sql = "SELECT c.id FROM feed_entry e JOIN feed_change c ON c.seq = e.seq \
               WHERE e.product = $1 AND e.pos = $2";
    let values = [product.as_str().into(), position.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let row = db.query_one_raw(statement).await?;
    Ok(row.map(|row| row.try_get("", "id")).transpose()?)
}

/// The changes after a position, at most `limit` positions of them, with the
/// ends of the feed as the same statement sees them: rows that a purge removed
/// are never taken for rows that never were.
pub(crate) async fn read(
    db: &impl ConnectionTrait,
    product: &Product,
    after: i64,
    limit: i64,
) -> Result<(FeedEnds, Vec<FeedRow>), RecordError> {
    let sql = "SELECT f.epoch, f.head, f.floor, e.pos, e.linked, c.* FROM feed_product f \
               LEFT JOIN feed_entry e ON e.product = f.product AND e.pos > $2 AND e.pos <= $3 \
               LEFT JOIN feed_change c ON c.seq = e.seq \
               WHERE f.product = $1 ORDER BY e.pos";
    let values = [product.as_str().into(), after.into(), after.saturating_add(limit).into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = db.query_all_raw(statement).await?;
    let first = rows.first().ok_or(RecordError::Corrupt("a feed without its product"))?;
    let ends = FeedEnds {
        epoch: first.try_get("", "epoch")?,
        head: first.try_get("", "head")?,
        floor: first.try_get("", "floor")?,
    };
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        let position: Option<i64> = row.try_get("", "pos")?;
        if let Some(position) = position {
            let change = feed_change::Model::from_query_result(row, "")?;
            changes.push(from_row(position, row.try_get("", "linked")?, change)?);
        }
    }
    Ok((ends, changes))
}

fn from_row(position: i64, linked: bool, row: feed_change::Model) -> Result<FeedRow, RecordError> {
    let companions: Vec<String> = from_json(&row.companions)?;
    let companion =
        |text: &String| RecordRef::parse(text).ok_or(RecordError::Corrupt("a companion"));
    Ok(FeedRow {
        position,
        linked,
        id: row.id,
        practice: row.practice_id,
        record: RecordRef { kind: RecordKind::read(&row.record_kind)?, id: row.record_id },
        version: row.record_version,
        kind: ChangeKind::read(&row.kind)?,
        changed_fields: from_json(&row.changed_fields)?,
        entry_id: row.entry_id,
        companions: companions.iter().map(companion).collect::<Result<_, _>>()?,
        origin_product: row.origin_product,
        origin_account: row.origin_account,
        origin_user: row.origin_user,
        import_id: row.import_id,
        transaction_id: row.transaction_id,
        transaction_index: row.transaction_index,
        transaction_count: row.transaction_count,
        changed_at: row.changed_at,
    })
}

/// Tells the other replicas that a product's feed has grown. Only the sequencer
/// does, never a writing transaction: a notification takes a lock of the whole
/// cluster until its commit. Nothing on SQLite, which has one process.
pub(crate) async fn notify(db: &impl ConnectionTrait, product: &str) -> Result<(), RecordError> {
    if db.get_database_backend() == sea_orm::DbBackend::Postgres {
        let values = [CHANNEL.into(), product.into()];
        let sql = "SELECT pg_notify($1, $2)";
        db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values))
            .await?;
    }
    Ok(())
}

/// The PostgreSQL channel of [`notify`].
pub(crate) const CHANNEL: &str = "concord_feed";

#[cfg(test)]
mod tests;
