//! The feed's tables: sequencing pending changes, reading positions, snapshots,
//! and what is not kept any longer.

pub(crate) mod gauges;
pub(crate) mod lag;
pub(crate) mod renewal;
pub(crate) mod retention;
pub(crate) mod sequence;
pub(crate) mod snapshot;

use std::fmt;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, QueryResult, Statement};
use shared::{
    caller::{PracticeId, Product},
    pb::records::{ChangeKind, RecordKind},
};
use uuid::Uuid;

use super::{
    entities::feed_change,
    text::{Stored as _, from_json},
};
use crate::{domain::record::RecordRef, error::RecordError};

/// The ends of a product's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedEnds {
    /// The newest position; 0 when there is none.
    pub(crate) head: i64,
    /// The oldest position that is kept, or would be.
    pub(crate) floor: i64,
    /// The change that stood just before the oldest position; none when it is the
    /// first.
    pub(crate) floor_change: Option<Uuid>,
}

/// The feed of a product, and what stands at one of its positions.
#[derive(Clone)]
pub(crate) struct Standing {
    /// Changes with every database; a cursor of another one is recognised.
    pub(crate) epoch: Uuid,
    /// What cursors are sealed with.
    pub(crate) secret: Vec<u8>,
    pub(crate) ends: FeedEnds,
    pub(crate) position: i64,
    /// The change at the position, when it is known.
    pub(crate) change: Option<Uuid>,
}

impl Standing {
    /// Whether the feed has `change` at the position, and what follows.
    pub(crate) fn has(&self, change: Option<Uuid>) -> bool {
        (self.ends.floor - 1..=self.ends.head).contains(&self.position) && self.change == change
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// A position to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spot {
    At(i64),
    /// Before the oldest change that is kept.
    BeforeOldest,
    /// The newest change.
    Newest,
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

/// What stands at a spot of a product's feed; none when the product was never
/// connected anywhere. One statement: a purge beside it cannot make a good cursor
/// look like a bad one.
pub(crate) async fn standing(
    db: &impl ConnectionTrait,
    product: &Product,
    spot: Spot,
) -> Result<Option<Standing>, RecordError> {
    let position = match spot {
        Spot::At(_) => "$2",
        Spot::BeforeOldest => "f.floor - 1 + $2",
        Spot::Newest => "f.head + $2",
    };
    let sql = format!(
        "SELECT f.epoch, f.secret, f.head, f.floor, f.floor_change, c.id FROM feed_product f \
         LEFT JOIN feed_entry e ON e.product = f.product AND e.pos = {position} \
         LEFT JOIN feed_change c ON c.seq = e.seq WHERE f.product = $1"
    );
    let at = if let Spot::At(position) = spot { position } else { 0 };
    let values = [product.as_str().into(), at.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let Some(row) = db.query_one_raw(statement).await? else { return Ok(None) };
    let ends = ends_of(&row)?;
    let position = match spot {
        Spot::At(position) => position,
        Spot::BeforeOldest => ends.floor - 1,
        Spot::Newest => ends.head,
    };
    let stands: Option<Uuid> = row.try_get("", "id")?;
    let change = if position == ends.floor - 1 { ends.floor_change } else { stands };
    let (epoch, secret) = (row.try_get("", "epoch")?, row.try_get("", "secret")?);
    Ok(Some(Standing { epoch, secret, ends, position, change }))
}

/// What seals the cursors of a new feed.
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

/// A position, and the change at it when it is known: none before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) position: i64,
    pub(crate) change: Option<Uuid>,
}

/// What one statement sees of a product's feed after a position. Distinguishes rows
/// that a purge removed from rows that never existed, and rows of another history from
/// those that follow what a stream has sent.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) epoch: Uuid,
    pub(crate) ends: FeedEnds,
    /// The position that it reads after, with the change at that position.
    pub(crate) after: Mark,
    pub(crate) rows: Vec<FeedRow>,
    /// Nothing up to here is missing in the rows.
    pub(crate) upto: Mark,
}

/// At most `limit` changes after a position: of `practices`, or of all when it is
/// empty. None when the product has no feed.
pub(crate) async fn read(
    db: &impl ConnectionTrait,
    product: &Product,
    after: i64,
    limit: usize,
    practices: &[PracticeId],
) -> Result<Option<Reading>, RecordError> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut values = vec![product.as_str().into(), after.into(), most.into()];
    values.extend(practices.iter().map(|practice| practice.as_str().into()));
    let engine = db.get_database_backend();
    let sql = read_sql(engine, practices.len());
    let statement = Statement::from_sql_and_values(engine, sql, values);
    let rows = db.query_all_raw(statement).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let ends = ends_of(first)?;
    let change_at = |position: i64, column: &str| {
        let stands: Option<Uuid> = first.try_get("", column)?;
        let change = if position == ends.floor - 1 { ends.floor_change } else { stands };
        Ok::<_, RecordError>(Mark { position, change })
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
    let last = changes.last().map(|row| Mark { position: row.position, change: Some(row.id) });
    // Of all practices the positions are dense: what has no row is not stepped over.
    let is_full = changes.len() >= limit || practices.is_empty();
    let upto = if is_full { last.unwrap_or(after) } else { head };
    Ok(Some(Reading { epoch, ends, after, rows: changes, upto }))
}

fn read_sql(engine: DbBackend, practices: usize) -> String {
    let entries = entries_after("e.pos, e.seq, e.linked", practices, 4);
    format!(
        "SELECT f.epoch, f.head, f.floor, f.floor_change, ac.id AS change_after, \
           hc.id AS change_at_head, n.pos, n.linked, c.* FROM feed_product f \
         LEFT JOIN feed_entry a ON a.product = f.product AND a.pos = $2 \
         LEFT JOIN feed_change ac ON ac.seq = a.seq \
         LEFT JOIN feed_entry h ON h.product = f.product AND h.pos = f.head \
         LEFT JOIN feed_change hc ON hc.seq = h.seq \
         LEFT JOIN ({first}) n ON 1 = 1 \
         LEFT JOIN feed_change c ON c.seq = n.seq \
         WHERE f.product = $1 ORDER BY n.pos",
        first = first_of(engine, entries, "$3")
    )
}

/// The entries of the product `$1` after the position `$2`: a query for each of so many
/// practices, which are the parameters from `$first` on, or one for all when there are
/// none.
fn entries_after(columns: &str, practices: usize, first: usize) -> Vec<String> {
    let all = format!("SELECT {columns} FROM feed_entry e WHERE e.product = $1 AND e.pos > $2");
    if practices == 0 {
        return vec![all];
    }
    (first..first + practices).map(|n| format!("{all} AND e.practice_id = ${n}")).collect()
}

/// The first of some entries, merged in the order of their positions: of each query no
/// more is read than goes into that. PostgreSQL sees only in a query of its own that the
/// index of the practice has them in this order; SQLite sees it only without one.
fn first_of(engine: DbBackend, entries: Vec<String>, limit: &str) -> String {
    let ordered = |entries: String| match engine {
        DbBackend::Postgres => format!("SELECT * FROM ({entries} ORDER BY e.pos LIMIT {limit}) e"),
        _ => entries,
    };
    let each: Vec<String> = entries.into_iter().map(ordered).collect();
    format!("{} ORDER BY pos LIMIT {limit}", each.join(" UNION ALL "))
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
