//! Imports whose time has come, of all practices.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult as _, Value};
use shared::{
    db::{hex_of, none_of},
    ids::{self, IdKind},
};

use super::{entities::import, imports::from_row, sql};
use crate::{domain::import::ImportKey, error::ImportError};

/// Work on an import that is due at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The upload was not finished: no batch has arrived since.
    Expire,
    /// It ended before, and still has what was uploaded.
    Purge,
}

/// An import in the words of its row: one that cannot be read is named too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) practice: String,
    /// Its id, as callers see it.
    pub(crate) import: String,
}

impl Due {
    /// What names the import.
    pub(crate) fn key(&self) -> Result<ImportKey, ImportError> {
        let practice = self.practice.parse();
        Ok(ImportKey {
            practice: practice.map_err(|_| ImportError::Corrupt("the name of a practice"))?,
            id: ids::parse(IdKind::Import, &self.import).ok_or(ImportError::Corrupt("an id"))?,
        })
    }
}

/// The imports whose time came before `before`, but for those of `without`: `limit`
/// of them.
pub(crate) async fn due(
    db: &impl ConnectionTrait,
    work: Work,
    before: DateTime<Utc>,
    without: &[String],
    limit: u64,
) -> Result<Vec<Due>, ImportError> {
    let (condition, time) = match work {
        Work::Expire => ("state = 'RECEIVING'", "touched_at"),
        Work::Purge => ("ended_at IS NOT NULL AND purged_at IS NULL", "ended_at"),
    };
    let engine = db.get_database_backend();
    let hex = hex_of(engine, "id");
    let hidden = without.iter().filter_map(|id| id.strip_prefix(IdKind::Import.prefix()));
    let (not_hidden, hidden) = none_of(engine, &hex, "$2", hidden);
    let text = format!(
        "SELECT practice_id, {hex} AS import FROM import \
         WHERE {condition} AND {time} < $1 AND {not_hidden} ORDER BY {time} LIMIT {limit}"
    );
    let rows = sql::query(db, &text, vec![before.into(), hidden]).await?;
    rows.iter().map(|row| Ok(found(row)?)).collect()
}

/// Imports that a worker could claim, and that cannot be read; with the reason. Of
/// `limit` that are looked at.
pub(crate) async fn unreadable(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<(Due, ImportError)>, ImportError> {
    let hex = hex_of(db.get_database_backend(), "id");
    let text = format!(
        "SELECT *, {hex} AS import FROM import \
         WHERE state IN ('SEALED', 'RESOLVING', 'APPLYING', 'STALLED') \
           AND (lease_expires_at IS NULL OR lease_expires_at <= $1) \
         ORDER BY sealed_at LIMIT {limit}"
    );
    let mut unreadable = Vec::new();
    for row in sql::query(db, &text, vec![now.into()]).await? {
        let import = import::Model::from_query_result(&row, "").map_err(ImportError::from);
        if let Err(error) = import.and_then(from_row) {
            unreadable.push((found(&row)?, error));
        }
    }
    Ok(unreadable)
}

/// Keeps the workers from an import until `until`.
pub(crate) async fn keep_from_workers(
    db: &impl ConnectionTrait,
    due: &Due,
    until: DateTime<Utc>,
) -> Result<(), ImportError> {
    let hex = hex_of(db.get_database_backend(), "id");
    let text = format!(
        "UPDATE import SET lease_owner = NULL, lease_expires_at = $1 \
         WHERE practice_id = $2 AND {hex} = $3"
    );
    let digits = due.import.trim_start_matches(IdKind::Import.prefix());
    let values: Vec<Value> = vec![until.into(), due.practice.as_str().into(), digits.into()];
    sql::execute(db, &text, values).await?;
    Ok(())
}

fn found(row: &sea_orm::QueryResult) -> Result<Due, sea_orm::DbErr> {
    let digits: String = row.try_get("", "import")?;
    // Whatever else is in it: the import is refused for it, and the others are not.
    let practice = row.try_get("", "practice_id").unwrap_or_default();
    Ok(Due { practice, import: format!("{}{digits}", IdKind::Import.prefix()) })
}
