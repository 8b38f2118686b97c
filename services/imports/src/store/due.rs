//! Imports of all practices that are due for a background job.

use chrono::{DateTime, Utc};
use concord_core::ids::{self, IdKind};
use concord_db::{none_of, uuid_hex};
use sea_orm::{ConnectionTrait, FromQueryResult as _, Value};

use super::{entities::import, imports::from_row, sql};
use crate::{domain::import::ImportKey, error::ImportError};

/// A job that an import is due for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Expire an unsealed import that received no batch for a while.
    Expire,
    /// Purge the uploads of an import that ended a while ago.
    Purge,
}

/// A due import, with the raw values of its row, so that an unreadable import has a
/// name too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) practice: String,
    /// Its id, as callers see it.
    pub(crate) import: String,
}

impl Due {
    /// The key of the import.
    pub(crate) fn key(&self) -> Result<ImportKey, ImportError> {
        let practice = self.practice.parse();
        Ok(ImportKey {
            practice: practice.map_err(|_| ImportError::Corrupt("practice id"))?,
            id: ids::parse(IdKind::Import, &self.import)
                .ok_or(ImportError::Corrupt("import id"))?,
        })
    }
}

/// The imports that were due at `before`, except those in `without`; `limit` at most.
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
    let hex = uuid_hex(engine, "id");
    let hidden = without.iter().filter_map(|id| id.strip_prefix(IdKind::Import.prefix()));
    let (not_hidden, hidden) = none_of(engine, &hex, "$2", hidden);
    let text = format!(
        "SELECT practice_id, {hex} AS import FROM import \
         WHERE {condition} AND {time} < $1 AND {not_hidden} ORDER BY {time} LIMIT {limit}"
    );
    let rows = sql::query(db, &text, vec![before.into(), hidden]).await?;
    rows.iter().map(|row| Ok(found(row)?)).collect()
}

/// Imports that a worker could claim but that cannot be read, with the error. Checks
/// `limit` imports at most.
pub(crate) async fn unreadable(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<(Due, ImportError)>, ImportError> {
    let hex = uuid_hex(db.get_database_backend(), "id");
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

/// Prevents workers from claiming an import until `until`.
pub(crate) async fn defer_claims(
    db: &impl ConnectionTrait,
    due: &Due,
    until: DateTime<Utc>,
) -> Result<(), ImportError> {
    let hex = uuid_hex(db.get_database_backend(), "id");
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
    // An unreadable value fails this import only, not the others.
    let practice = row.try_get("", "practice_id").unwrap_or_default();
    Ok(Due { practice, import: format!("{}{digits}", IdKind::Import.prefix()) })
}
