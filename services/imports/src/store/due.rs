//! Imports of all practices that are due for a background job.

use chrono::{DateTime, Utc};
use concord_core::ids::{self, IdKind};
use concord_db::uuid_hex;
use sea_orm::{ConnectionTrait, FromQueryResult as _};

use super::{entities::import, imports::from_row};
use crate::{domain::import::ImportKey, error::ImportError};

/// A job that an import is due for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobKind {
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
    kind: JobKind,
    before: DateTime<Utc>,
    without: &[String],
    limit: u64,
) -> Result<Vec<Due>, ImportError> {
    let (condition, time) = match kind {
        JobKind::Expire => ("state = 'RECEIVING'", "touched_at"),
        JobKind::Purge => ("ended_at IS NOT NULL AND purged_at IS NULL", "ended_at"),
    };
    let hex = uuid_hex(db.get_database_backend(), "id");
    let rows = concord_db::query(db, |sql| {
        let hidden = without.iter().filter_map(|id| id.strip_prefix(IdKind::Import.prefix()));
        format!(
            "SELECT practice_id, {hex} AS import FROM import \
             WHERE {condition} AND {time} < {} AND {hex} {} ORDER BY {time} LIMIT {limit}",
            sql.bind(before),
            sql.none_of(hidden)
        )
    });
    rows.await?.iter().map(|row| Ok(found(row)?)).collect()
}

/// Imports that a worker could claim but that cannot be read, with the error. Checks
/// `limit` imports at most.
pub(crate) async fn unreadable(
    db: &impl ConnectionTrait,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<(Due, ImportError)>, ImportError> {
    let hex = uuid_hex(db.get_database_backend(), "id");
    let rows = concord_db::query(db, |sql| {
        format!(
            "SELECT *, {hex} AS import FROM import \
             WHERE state IN ('SEALED', 'RESOLVING', 'APPLYING', 'STALLED') \
               AND (lease_expires_at IS NULL OR lease_expires_at <= {}) \
             ORDER BY sealed_at LIMIT {limit}",
            sql.bind(now)
        )
    });
    let mut unreadable = Vec::new();
    for row in rows.await? {
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
    let digits = due.import.trim_start_matches(IdKind::Import.prefix());
    let deferred = concord_db::execute(db, |sql| {
        format!(
            "UPDATE import SET lease_owner = NULL, lease_expires_at = {} \
             WHERE practice_id = {} AND {hex} = {}",
            sql.bind(until),
            sql.bind(due.practice.as_str()),
            sql.bind(digits)
        )
    });
    deferred.await?;
    Ok(())
}

fn found(row: &sea_orm::QueryResult) -> Result<Due, sea_orm::DbErr> {
    let digits: String = row.try_get("", "import")?;
    // An unreadable value fails this import only, not the others.
    let practice = row.try_get("", "practice_id").unwrap_or_default();
    Ok(Due { practice, import: format!("{}{digits}", IdKind::Import.prefix()) })
}
