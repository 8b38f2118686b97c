//! Records whose time has come, of all practices.

use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};
use shared::db::{hex_of, none_of};

use crate::error::RecordError;

/// Work on a record that is due at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A midnight concerns an entry of it.
    Turn,
    /// It is an orphaned client that is removed.
    PurgeClient,
    /// It is an orphaned person that is removed.
    PurgePerson,
}

/// A record in the words of its row: one that cannot be read is named too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) practice: String,
    /// Its id, as callers see it.
    pub(crate) record: String,
}

/// The records whose time came up to `until`, but for those of `without`: the first
/// `limit` of them. A record may be among them more than once.
pub(crate) async fn due(
    db: &impl ConnectionTrait,
    work: Work,
    until: Value,
    without: &[String],
    limit: u64,
) -> Result<Vec<Due>, RecordError> {
    let engine = db.get_database_backend();
    let hidden = without.iter().filter_map(|record| record.rsplit('_').next());
    let (sql, hidden) = due_sql(engine, work, hidden);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let statement = Statement::from_sql_and_values(engine, sql, [until, hidden, limit.into()]);
    let rows = db.query_all_raw(statement).await?;
    let due = |row: &sea_orm::QueryResult| {
        // Whatever else is in it: the record is refused for it, and the others are not.
        let practice = row.try_get("", "practice_id").unwrap_or_default();
        Ok(Due { practice, record: row.try_get("", "record")? })
    };
    rows.iter().map(due).collect()
}

fn due_sql<'a>(
    engine: DbBackend,
    work: Work,
    hidden: impl Iterator<Item = &'a str>,
) -> (String, Value) {
    let (table, id, time) = match work {
        Work::Turn => ("entry", "r.owner_id", "r.turns_on"),
        Work::PurgeClient => ("client", "r.id", "r.purge_at"),
        Work::PurgePerson => ("person", "r.id", "r.purge_at"),
    };
    let prefix = match work {
        Work::Turn => {
            "CASE WHEN EXISTS (SELECT 1 FROM person p WHERE p.practice_id = r.practice_id \
             AND p.id = r.owner_id) THEN 'per_' ELSE 'cli_' END"
        }
        Work::PurgeClient => "'cli_'",
        Work::PurgePerson => "'per_'",
    };
    let id = hex_of(engine, id);
    let (not_hidden, hidden) = none_of(engine, &id, "$2", hidden);
    let sql = format!(
        "SELECT r.practice_id, {prefix} || {id} AS record FROM {table} r \
         WHERE {time} <= $1 AND {not_hidden} ORDER BY {time} LIMIT $3"
    );
    (sql, hidden)
}
