//! Records with due background work, of all practices.

use concord_db::{Binds, uuid_hex};
use sea_orm::{ConnectionTrait, Value};

use crate::error::RecordError;

/// The kinds of background work that are due on a record at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobKind {
    /// The status of an entry changes at midnight.
    Rollover,
    /// An orphaned client is purged.
    PurgeClient,
    /// An orphaned person is purged.
    PurgePerson,
}

/// A due record as stored. The fields are text, so that a corrupt row can be reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DueRecord {
    pub(crate) practice: String,
    /// Its external form, such as `cli_…`.
    pub(crate) record: String,
}

/// The first `limit` records that are due by `until`, except those of `without`. A record
/// may occur more than once.
pub(crate) async fn due(
    db: &impl ConnectionTrait,
    kind: JobKind,
    until: Value,
    without: &[String],
    limit: u64,
) -> Result<Vec<DueRecord>, RecordError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = concord_db::query(db, |sql| due_sql(sql, kind, until, without, limit)).await?;
    let due = |row: &sea_orm::QueryResult| {
        // A corrupt practice fails this record only.
        let practice = row.try_get("", "practice_id").unwrap_or_default();
        Ok(DueRecord { practice, record: row.try_get("", "record")? })
    };
    rows.iter().map(due).collect()
}

fn due_sql(sql: &mut Binds, kind: JobKind, until: Value, without: &[String], limit: i64) -> String {
    let (table, id, time) = match kind {
        JobKind::Rollover => ("entry", "r.owner_id", "r.turns_on"),
        JobKind::PurgeClient => ("client", "r.id", "r.purge_at"),
        JobKind::PurgePerson => ("person", "r.id", "r.purge_at"),
    };
    let prefix = match kind {
        JobKind::Rollover => {
            "CASE WHEN EXISTS (SELECT 1 FROM person p WHERE p.practice_id = r.practice_id \
             AND p.id = r.owner_id) THEN 'per_' ELSE 'cli_' END"
        }
        JobKind::PurgeClient => "'cli_'",
        JobKind::PurgePerson => "'per_'",
    };
    let id = uuid_hex(sql.engine(), id);
    let hidden = without.iter().filter_map(|record| record.rsplit('_').next());
    format!(
        "SELECT r.practice_id, {prefix} || {id} AS record FROM {table} r \
         WHERE {time} <= {} AND {id} {} ORDER BY {time} LIMIT {}",
        sql.bind(until),
        sql.none_of(hidden),
        sql.bind(limit)
    )
}
