//! Entries of timelines.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _};
use shared::{
    caller::PracticeId,
    db::Writes,
    rules::{date::Period, value::Value},
};
use uuid::Uuid;

use super::{
    entities::entry,
    keys::{among, pieces},
    text::{from_json, to_json},
    write_now,
};
use crate::{
    domain::timeline::{Edit, Entry},
    error::RecordError,
};

/// Adds new entries.
pub(crate) fn insert(
    writes: &mut Writes,
    practice: &PracticeId,
    entries: &[Entry],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let rows = entries.iter().map(|entry| to_row(practice, entry, now));
    let rows = rows.map(|row| row.map(entry::Model::into_active_model));
    writes.insert(rows.collect::<Result<Vec<_>, _>>()?);
    Ok(())
}

/// All entries of these clients or persons, by owner.
pub(crate) async fn of_owners(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    owners: &[Uuid],
) -> Result<HashMap<Uuid, Vec<Entry>>, RecordError> {
    let mut by_owner: HashMap<Uuid, Vec<Entry>> = HashMap::new();
    for owners in pieces(owners) {
        let mut rows = entry::Entity::find()
            .filter(entry::COLUMN.practice_id.eq(practice.as_str()))
            .filter(among(db, entry::Column::OwnerId, owners))
            .all(db)
            .await?;
        // Sorted here: see `keys::locked_in_order`.
        rows.sort_unstable_by_key(|row| row.id);
        for row in rows {
            by_owner.entry(row.owner_id).or_default().push(from_row(&row)?);
        }
    }
    Ok(by_owner)
}

/// Writes the edits of a decision, in their order.
pub(crate) async fn write(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    edits: &[Edit],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    use sea_orm::sea_query::Expr;
    for edit in edits {
        let of = |id: &Uuid| {
            entry::Entity::update_many()
                .filter(entry::COLUMN.practice_id.eq(practice.as_str()))
                .filter(entry::COLUMN.id.eq(*id))
        };
        match edit {
            Edit::Insert(entry) => {
                let entry = std::slice::from_ref(entry);
                write_now(db, |writes| insert(writes, practice, entry, now)).await?;
            }
            Edit::SetDates { id, period, own_to, turns_on } => {
                of(id)
                    .col_expr(entry::Column::ActiveFrom, Expr::value(period.from))
                    .col_expr(entry::Column::ActiveTo, Expr::value(period.to))
                    .col_expr(entry::Column::OwnTo, Expr::value(*own_to))
                    .col_expr(entry::Column::TurnsOn, Expr::value(*turns_on))
                    .exec(db)
                    .await?;
            }
            Edit::SetValue { id, value } => {
                of(id)
                    .col_expr(entry::Column::Value, Expr::value(to_json(value)?))
                    .exec(db)
                    .await?;
            }
            Edit::Remove(id) => {
                entry::Entity::delete_many()
                    .filter(entry::COLUMN.practice_id.eq(practice.as_str()))
                    .filter(entry::COLUMN.id.eq(*id))
                    .exec(db)
                    .await?;
            }
        }
    }
    Ok(())
}

/// The owner of an entry.
pub(crate) async fn owner(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    id: Uuid,
) -> Result<Option<Uuid>, RecordError> {
    let row = entry::Entity::find_by_id((practice.to_string(), id)).one(db).await?;
    Ok(row.map(|row| row.owner_id))
}

/// Removes all entries of these clients or persons.
pub(crate) async fn remove_of_owners(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    owners: &[Uuid],
) -> Result<(), RecordError> {
    for owners in pieces(owners) {
        entry::Entity::delete_many()
            .filter(entry::COLUMN.practice_id.eq(practice.as_str()))
            .filter(among(db, entry::Column::OwnerId, owners))
            .exec(db)
            .await?;
    }
    Ok(())
}

fn to_row(
    practice: &PracticeId,
    entry: &Entry,
    now: DateTime<Utc>,
) -> Result<entry::Model, RecordError> {
    let Entry { id, owner, timeline, value, period, own_to, turns_on } = entry;
    Ok(entry::Model {
        practice_id: practice.to_string(),
        id: *id,
        owner_id: *owner,
        timeline: timeline.to_string(),
        value: to_json(value)?,
        active_from: period.from,
        active_to: period.to,
        created_at: now,
        own_to: *own_to,
        turns_on: *turns_on,
    })
}

fn from_row(row: &entry::Model) -> Result<Entry, RecordError> {
    Ok(Entry {
        id: row.id,
        owner: row.owner_id,
        timeline: row.timeline.parse().map_err(|_| RecordError::Corrupt("a timeline's name"))?,
        value: from_json::<Value>(&row.value)?,
        period: Period::new(row.active_from, row.active_to),
        own_to: row.own_to,
        turns_on: row.turns_on,
    })
}
