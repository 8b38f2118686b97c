//! The tables of the change feed: sequencing, reads by position, snapshots, lag and
//! retention.

pub(crate) mod gauges;
pub(crate) mod lag;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod sequence;
pub(crate) mod snapshot;

use chrono::{DateTime, Utc};
use concord_core::caller::{PracticeId, Product};
use concord_db::Binds;
use concord_proto::pb::records::{ChangeKind, RecordKind};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, QueryResult};
use uuid::Uuid;

use super::{
    entities::feed_change,
    stored::{Stored as _, from_json},
};
use crate::{
    domain::{
        feed_head::{FeedEnds, FeedHead},
        record::RecordRef,
    },
    error::RecordError,
};

/// The position to seek to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SeekTarget {
    At(i64),
    /// Before the oldest retained change.
    BeforeOldest,
    /// The newest change.
    Newest,
}

/// A change at its position.
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

/// Reads the state of a product's feed and the change at a position. `None` if the
/// product was never connected to any practice. A single statement, so that a concurrent
/// purge cannot invalidate a valid cursor.
pub(crate) async fn seek(
    db: &impl ConnectionTrait,
    product: &Product,
    target: SeekTarget,
) -> Result<Option<FeedHead>, RecordError> {
    let row = concord_db::query_one(db, |sql| {
        let position = match target {
            SeekTarget::At(position) => sql.bind(position),
            SeekTarget::BeforeOldest => "f.floor - 1".to_owned(),
            SeekTarget::Newest => "f.head".to_owned(),
        };
        format!(
            "SELECT f.epoch, f.secret, f.head, f.floor, f.floor_change, c.id FROM feed_product f \
             LEFT JOIN feed_entry e ON e.product = f.product AND e.pos = {position} \
             LEFT JOIN feed_change c ON c.seq = e.seq WHERE f.product = {}",
            sql.bind(product.as_str())
        )
    });
    let Some(row) = row.await? else { return Ok(None) };
    let ends = ends_of(&row)?;
    let position = match target {
        SeekTarget::At(position) => position,
        SeekTarget::BeforeOldest => ends.floor - 1,
        SeekTarget::Newest => ends.head,
    };
    let found: Option<Uuid> = row.try_get("", "id")?;
    let change = if position == ends.floor - 1 { ends.floor_change } else { found };
    let (epoch, secret) = (row.try_get("", "epoch")?, row.try_get("", "secret")?);
    Ok(Some(FeedHead { epoch, secret, ends, position, change }))
}

/// A random key to sign the cursors of a feed.
pub(super) fn secret() -> Result<Vec<u8>, RecordError> {
    let mut secret = vec![0; 32];
    getrandom::fill(&mut secret).map_err(|_| RecordError::Corrupt("no randomness"))?;
    Ok(secret)
}

fn ends_of(row: &QueryResult) -> Result<FeedEnds, RecordError> {
    Ok(FeedEnds {
        head: row.try_get("", "head")?,
        floor: row.try_get("", "floor")?,
        floor_change: row.try_get("", "floor_change")?,
    })
}

/// A position with the change at it. The change is `None` before the first position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeedPoint {
    pub(crate) position: i64,
    pub(crate) change: Option<Uuid>,
}

/// A page of a product's feed after a position, read by one statement. It distinguishes
/// rows that a purge removed from rows that never existed, and another history from the
/// one that a stream has sent.
#[derive(Clone, Debug)]
pub(crate) struct FeedPage {
    pub(crate) epoch: Uuid,
    pub(crate) ends: FeedEnds,
    /// The position that the page follows.
    pub(crate) after: FeedPoint,
    pub(crate) rows: Vec<FeedRow>,
    /// The rows are complete up to this position.
    pub(crate) upto: FeedPoint,
}

/// Reads at most `limit` changes after a position: of `practices`, or of all practices if
/// it is empty. `None` if the product has no feed.
pub(crate) async fn read(
    db: &impl ConnectionTrait,
    product: &Product,
    after: i64,
    limit: usize,
    practices: &[PracticeId],
) -> Result<Option<FeedPage>, RecordError> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = concord_db::query(db, |sql| read_sql(sql, product, after, most, practices)).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let ends = ends_of(first)?;
    let change_at = |position: i64, column: &str| {
        let found: Option<Uuid> = first.try_get("", column)?;
        let change = if position == ends.floor - 1 { ends.floor_change } else { found };
        Ok::<_, RecordError>(FeedPoint { position, change })
    };
    let (after, head) =
        (change_at(after, "change_after")?, change_at(ends.head, "change_at_head")?);
    let epoch = first.try_get("", "epoch")?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        let position: Option<i64> = row.try_get("", "pos")?;
        if let Some(position) = position {
            let change = feed_change::Model::from_query_result(row, "")?;
            changes.push(from_row(position, row.try_get("", "linked")?, change)?);
        }
    }
    let last = changes.last().map(|row| FeedPoint { position: row.position, change: Some(row.id) });
    // The positions of all practices are dense, so a missing row is a gap.
    let is_full = changes.len() >= limit || practices.is_empty();
    let upto = if is_full { last.unwrap_or(after) } else { head };
    Ok(Some(FeedPage { epoch, ends, after, rows: changes, upto }))
}

fn read_sql(
    sql: &mut Binds,
    product: &Product,
    after: i64,
    limit: i64,
    practices: &[PracticeId],
) -> String {
    let at = sql.bind_shared("after", after);
    let entries = entries_after(sql, "e.pos, e.seq, e.linked", product, after, practices);
    let first = first_of(sql, entries, |sql| sql.bind_shared("limit", limit));
    format!(
        "SELECT f.epoch, f.head, f.floor, f.floor_change, ac.id AS change_after, \
           hc.id AS change_at_head, n.pos, n.linked, c.* FROM feed_product f \
         LEFT JOIN feed_entry a ON a.product = f.product AND a.pos = {at} \
         LEFT JOIN feed_change ac ON ac.seq = a.seq \
         LEFT JOIN feed_entry h ON h.product = f.product AND h.pos = f.head \
         LEFT JOIN feed_change hc ON hc.seq = h.seq \
         LEFT JOIN ({first}) n ON 1 = 1 \
         LEFT JOIN feed_change c ON c.seq = n.seq \
         WHERE f.product = {} ORDER BY n.pos",
        sql.bind_shared("product", product.as_str())
    )
}

/// The queries for the entries of a product after a position: one for each of `practices`,
/// or one for all practices if it is empty.
fn entries_after(
    sql: &mut Binds,
    columns: &str,
    product: &Product,
    after: i64,
    practices: &[PracticeId],
) -> Vec<String> {
    let all = |sql: &mut Binds| {
        format!(
            "SELECT {columns} FROM feed_entry e WHERE e.product = {} AND e.pos > {}",
            sql.bind_shared("product", product.as_str()),
            sql.bind_shared("after", after)
        )
    };
    if practices.is_empty() {
        return vec![all(sql)];
    }
    let of_practice = |practice: &PracticeId| {
        format!("{} AND e.practice_id = {}", all(sql), sql.bind(practice.as_str()))
    };
    practices.iter().map(of_practice).collect()
}

/// The first entries of several queries, merged in the order of their positions; no query
/// reads more rows than the merge takes. PostgreSQL uses the order of the practice index
/// only in a subquery, SQLite only without one.
fn first_of(sql: &mut Binds, entries: Vec<String>, limit: impl Fn(&mut Binds) -> String) -> String {
    let engine = sql.engine();
    let ordered = |entries: String| match engine {
        DbBackend::Postgres => {
            format!("SELECT * FROM ({entries} ORDER BY e.pos LIMIT {}) e", limit(sql))
        }
        _ => entries,
    };
    let each: Vec<String> = entries.into_iter().map(ordered).collect();
    format!("{} ORDER BY pos LIMIT {}", each.join(" UNION ALL "), limit(sql))
}

pub(super) fn from_row(
    position: i64,
    linked: bool,
    row: feed_change::Model,
) -> Result<FeedRow, RecordError> {
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

#[cfg(test)]
mod tests;
