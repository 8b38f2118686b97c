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
use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Statement};
use shared::{
    caller::Product,
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

/// The changes after a position, at most `limit` positions of them, with the
/// ends of the feed as the same statement sees them: rows that a purge removed
/// are never taken for rows that never were.
pub(crate) async fn read(
    db: &impl ConnectionTrait,
    product: &Product,
    after: i64,
    limit: i64,
) -> Result<(FeedEnds, Vec<FeedRow>), RecordError> {
    let sql = "SELECT f.head, f.floor, f.floor_change, e.pos, e.linked, c.* FROM feed_product f \
               LEFT JOIN feed_entry e ON e.product = f.product AND e.pos > $2 AND e.pos <= $3 \
               LEFT JOIN feed_change c ON c.seq = e.seq \
               WHERE f.product = $1 ORDER BY e.pos";
    let values = [product.as_str().into(), after.into(), after.saturating_add(limit).into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let rows = db.query_all_raw(statement).await?;
    let first = rows.first().ok_or(RecordError::Corrupt("a feed without its product"))?;
    let ends = ends_of(first)?;
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
