//! Entries of timelines.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _,
};
use shared::{
    caller::PracticeId,
    db::insert_all,
    rules::{date::Period, value::Value},
};
use uuid::Uuid;

use super::{
    entities::entry,
    text::{from_json, pieces, to_json},
};
use crate::{domain::timeline::Entry, error::RecordError};

/// Inserts new entries.
pub(crate) async fn insert(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    entries: &[Entry],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let rows = entries.iter().map(|entry| to_row(practice, entry, now));
    let rows = rows.map(|row| row.map(entry::Model::into_active_model));
    Ok(insert_all(db, rows.collect::<Result<Vec<_>, _>>()?).await?)
}

/// All entries of these clients or persons, by owner.
pub(crate) async fn of_owners(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    owners: &[Uuid],
) -> Result<HashMap<Uuid, Vec<Entry>>, RecordError> {
    let mut by_owner: HashMap<Uuid, Vec<Entry>> = HashMap::new();
    for owners in pieces(owners) {
        let rows = entry::Entity::find()
            .filter(entry::COLUMN.practice_id.eq(practice.as_str()))
            .filter(entry::COLUMN.owner_id.is_in(owners))
            .order_by_asc(entry::Column::Id)
            .all(db)
            .await?;
        for row in rows {
            by_owner.entry(row.owner_id).or_default().push(from_row(&row)?);
        }
    }
    Ok(by_owner)
}

fn to_row(
    practice: &PracticeId,
    entry: &Entry,
    now: DateTime<Utc>,
) -> Result<entry::Model, RecordError> {
    let Entry { id, owner, timeline, value, period } = entry;
    Ok(entry::Model {
        practice_id: practice.to_string(),
        id: *id,
        owner_id: *owner,
        timeline: timeline.to_string(),
        value: to_json(value)?,
        active_from: period.from,
        active_to: period.to,
        created_at: now,
    })
}

fn from_row(row: &entry::Model) -> Result<Entry, RecordError> {
    Ok(Entry {
        id: row.id,
        owner: row.owner_id,
        timeline: row.timeline.parse().map_err(|_| RecordError::Corrupt("a timeline's name"))?,
        value: from_json::<Value>(&row.value)?,
        period: Period::new(row.active_from, row.active_to),
    })
}
