//! The table of timeline entries.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use concord_core::{
    caller::PracticeId,
    rules::{date::Period, value::Value},
};
use concord_db::{StatementBatch, TenantDb};
use sea_orm::{ConnectionTrait, QueryFilter as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    bulk,
    entities::entry,
    stored::{from_json, to_json},
    write_now,
};
use crate::{
    domain::timeline::{Cut, Edit, Entry, Side},
    error::RecordError,
};

/// Inserts new entries.
pub(crate) fn insert(
    batch: &mut StatementBatch,
    entries: &[Entry],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    bulk::insert(batch, entries, |practice, entry| to_row(practice, entry, now))
}

/// All entries of these clients or persons, by owner.
pub(crate) async fn of_owners(
    db: TenantDb<'_, impl ConnectionTrait>,
    owners: &[Uuid],
) -> Result<HashMap<Uuid, Vec<Entry>>, RecordError> {
    let (query, key) = (db.select::<entry::Entity>(), entry::Column::OwnerId);
    let mut rows = bulk::find(db, query, key, owners).await?;
    // Sorted here: see `conditions::locked_in_order`.
    rows.sort_unstable_by_key(|row| row.id);
    let mut by_owner: HashMap<Uuid, Vec<Entry>> = HashMap::new();
    for row in rows {
        by_owner.entry(row.owner_id).or_default().push(from_row(&row)?);
    }
    Ok(by_owner)
}

/// Applies the edits of a decision, in their order.
pub(crate) async fn write(
    db: TenantDb<'_, impl ConnectionTrait>,
    edits: &[Edit],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    use sea_orm::sea_query::Expr;
    for edit in edits {
        let of = |id: &Uuid| db.update::<entry::Entity>().filter(entry::COLUMN.id.eq(*id));
        match edit {
            Edit::Insert(entry) => {
                let entry = std::slice::from_ref(entry);
                write_now(db, |batch| insert(batch, entry, now)).await?;
            }
            Edit::SetDates { id, period, declared, cuts, status_changes_on } => {
                of(id)
                    .col_expr(entry::Column::ActiveFrom, Expr::value(period.from))
                    .col_expr(entry::Column::ActiveTo, Expr::value(period.to))
                    .col_expr(entry::Column::OwnTo, Expr::value(declared.to))
                    .col_expr(entry::Column::Cuts, Expr::value(cuts_text(*declared, cuts)?))
                    .col_expr(entry::Column::TurnsOn, Expr::value(*status_changes_on))
                    .exec(db.connection())
                    .await?;
            }
            Edit::SetValue { id, value } => {
                of(id)
                    .col_expr(entry::Column::Value, Expr::value(to_json(value)?))
                    .exec(db.connection())
                    .await?;
            }
            Edit::Remove(id) => {
                db.delete::<entry::Entity>()
                    .filter(entry::COLUMN.id.eq(*id))
                    .exec(db.connection())
                    .await?;
            }
        }
    }
    Ok(())
}

/// The owner of an entry.
pub(crate) async fn owner(
    db: TenantDb<'_, impl ConnectionTrait>,
    id: Uuid,
) -> Result<Option<Uuid>, RecordError> {
    let query = db.select::<entry::Entity>().filter(entry::COLUMN.id.eq(id));
    let row = query.one(db.connection()).await?;
    Ok(row.map(|row| row.owner_id))
}

/// Deletes all entries of these clients or persons.
pub(crate) async fn remove_of_owners(
    db: TenantDb<'_, impl ConnectionTrait>,
    owners: &[Uuid],
) -> Result<(), RecordError> {
    let (delete, key) = (db.delete::<entry::Entity>(), entry::Column::OwnerId);
    bulk::delete(db, delete, key, owners).await.map(drop)
}

/// The owners, in one practice, of entries whose status changes at a midnight up to
/// `today`.
pub(crate) async fn due_in_practice(
    db: TenantDb<'_, impl ConnectionTrait>,
    today: NaiveDate,
) -> Result<Vec<Uuid>, RecordError> {
    use sea_orm::QuerySelect as _;
    let query = db.select::<entry::Entity>().filter(entry::COLUMN.turns_on.lte(today));
    let owners = query.select_only().column(entry::Column::OwnerId).distinct();
    Ok(owners.into_tuple().all(db.connection()).await?)
}

fn to_row(
    practice: &PracticeId,
    entry: &Entry,
    now: DateTime<Utc>,
) -> Result<entry::Model, RecordError> {
    let Entry { id, owner, timeline, value, period, declared, cuts, status_changes_on } = entry;
    Ok(entry::Model {
        practice_id: practice.to_string(),
        id: *id,
        owner_id: *owner,
        timeline: timeline.to_string(),
        value: to_json(value)?,
        active_from: period.from,
        active_to: period.to,
        created_at: now,
        own_to: declared.to,
        turns_on: *status_changes_on,
        cuts: cuts_text(*declared, cuts)?,
    })
}

fn from_row(row: &entry::Model) -> Result<Entry, RecordError> {
    let period = Period::new(row.active_from, row.active_to);
    let (own_from, cuts) = match &row.cuts {
        Some(text) => read_cuts(text)?,
        None => (period.from, Vec::new()),
    };
    Ok(Entry {
        id: row.id,
        owner: row.owner_id,
        timeline: row.timeline.parse().map_err(|_| RecordError::Corrupt("a timeline's name"))?,
        value: from_json::<Value>(&row.value)?,
        period,
        declared: Period::new(own_from, row.own_to),
        cuts,
        status_changes_on: row.turns_on,
    })
}

/// The stored form of an entry's cuts, with its declared start, which they may hide.
#[derive(Serialize, Deserialize)]
struct StoredCuts {
    own_from: Option<NaiveDate>,
    cuts: Vec<StoredCut>,
}

#[derive(Serialize, Deserialize)]
struct StoredCut {
    /// `start` or `end`.
    side: String,
    at: NaiveDate,
    by: String,
}

/// The stored cuts; `None` for an entry without cuts, as most have.
fn cuts_text(declared: Period, cuts: &[Cut]) -> Result<Option<String>, RecordError> {
    let stored = |cut: &Cut| StoredCut {
        side: match cut.side {
            Side::Start => START.to_owned(),
            Side::End => END.to_owned(),
        },
        at: cut.at,
        by: cut.by.to_string(),
    };
    let stored = StoredCuts { own_from: declared.from, cuts: cuts.iter().map(stored).collect() };
    if cuts.is_empty() { Ok(None) } else { to_json(&stored).map(Some) }
}

fn read_cuts(text: &str) -> Result<(Option<NaiveDate>, Vec<Cut>), RecordError> {
    let StoredCuts { own_from, cuts } = from_json(text)?;
    let wrong = || RecordError::Corrupt("a cut of an entry");
    let read = |StoredCut { side, at, by }: StoredCut| {
        let side = match side.as_str() {
            START => Side::Start,
            END => Side::End,
            _ => return Err(wrong()),
        };
        Ok(Cut { side, at, by: by.parse().map_err(|_| wrong())? })
    };
    Ok((own_from, cuts.into_iter().map(read).collect::<Result<_, _>>()?))
}

const START: &str = "start";
const END: &str = "end";
