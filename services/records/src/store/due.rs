//! Records with due background work, of all practices.

use concord_db::{none_of, uuid_hex};
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

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
    let engine = db.get_database_backend();
    let hidden = without.iter().filter_map(|record| record.rsplit('_').next());
    let (sql, hidden) = due_sql(engine, kind, hidden);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let statement = Statement::from_sql_and_values(engine, sql, [until, hidden, limit.into()]);
    let rows = db.query_all_raw(statement).await?;
    let due = |row: &sea_orm::QueryResult| {
        // A corrupt practice fails this record only.
        let practice = row.try_get("", "practice_id").unwrap_or_default();
        Ok(DueRecord { practice, record: row.try_get("", "record")? })
    };
    rows.iter().map(due).collect()
}

fn due_sql<'a>(
    engine: DbBackend,
    kind: JobKind,
    hidden: impl Iterator<Item = &'a str>,
) -> (String, Value) {
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
    let id = uuid_hex(engine, id);
    let (not_hidden, hidden) = none_of(engine, &id, "$2", hidden);
    let sql = format!(
        "SELECT r.practice_id, {prefix} || {id} AS record FROM {table} r \
         WHERE {time} <= $1 AND {not_hidden} ORDER BY {time} LIMIT $3"
    );
    (sql, hidden)
}
