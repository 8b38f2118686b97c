//! The counters of an import: the number of records by kind and status.

use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{sql, staged};
use crate::{
    domain::{counters::Counters, enums::Status, import::ImportKey},
    error::ImportError,
};

/// The ordinal of the first warning of a record, after all its errors.
pub(super) const FIRST_WARNING: i64 = 3_000;

/// Adds a delta to the counters, by upsert.
pub(crate) async fn add(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    change: &Counters,
) -> Result<(), DbErr> {
    let row = |(kind, status, n): (_, _, i64)| -> Vec<Value> {
        let (kind, status): (crate::domain::enums::Kind, crate::domain::enums::Status) =
            (kind, status);
        vec![kind.as_str().into(), status.as_str().into(), n.into()]
    };
    let rows = change.entries().map(row).collect();
    let statement = "INSERT INTO import_tally (practice_id, import_id, kind, status, n)
        SELECT $1, $2, kind, status, n FROM v WHERE true
        ON CONFLICT (practice_id, import_id, kind, status)
        DO UPDATE SET n = import_tally.n + excluded.n";
    sql::execute_with(db, &sql::key_binds(key), &["kind", "status", "n"], rows, statement).await
}

/// Reads the counters.
pub(crate) async fn read(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<Counters, ImportError> {
    let text = "SELECT kind, status, n, warned FROM import_tally
        WHERE practice_id = $1 AND import_id = $2";
    collect(db, key, text).await
}

/// Recomputes the number of records with a warning. Each record is counted by its first
/// warning.
pub(crate) async fn count_warned(db: &impl ConnectionTrait, key: &ImportKey) -> Result<(), DbErr> {
    let text = format!(
        "WITH warned AS MATERIALIZED (SELECT kind, status, count(*) AS n FROM import_failure
          WHERE practice_id = $1 AND import_id = $2 AND severity = 'WARNING'
            AND ordinal = {FIRST_WARNING} GROUP BY kind, status)
        UPDATE import_tally SET warned = COALESCE((SELECT w.n FROM warned w
          WHERE w.kind = import_tally.kind AND w.status = import_tally.status), 0)
        WHERE practice_id = $1 AND import_id = $2"
    );
    sql::execute(db, &text, sql::key_binds(key)).await.map(drop)
}

/// Computes the counters from the records, to check the stored ones at the end.
pub(crate) async fn count(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<Counters, ImportError> {
    let text = "SELECT kind, status, count(*) AS n, CAST(0 AS bigint) AS warned FROM import_record
        WHERE practice_id = $1 AND import_id = $2 GROUP BY kind, status";
    collect(db, key, text).await
}

/// Recomputes the counters from the records and stores them. Records that were never
/// read are counted as `unread`.
pub(crate) async fn recount(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    unread: Status,
) -> Result<Counters, ImportError> {
    let mut counted = count(db, key).await?;
    for kind in staged::unread(db, key).await? {
        counted.add(kind, unread, 1);
    }
    let text = "DELETE FROM import_tally WHERE practice_id = $1 AND import_id = $2";
    sql::execute(db, text, sql::key_binds(key)).await?;
    add(db, key, &counted).await?;
    count_warned(db, key).await?;
    Ok(counted)
}

async fn collect(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    text: &str,
) -> Result<Counters, ImportError> {
    let rows = sql::query(db, text, sql::key_binds(key)).await?;
    let mut counters = Counters::default();
    for row in rows {
        let kind = row.try_get::<String>("", "kind")?.parse()?;
        let status = row.try_get::<String>("", "status")?.parse()?;
        counters.add(kind, status, row.try_get("", "n")?);
        counters.add_warned(kind, row.try_get("", "warned")?);
    }
    Ok(counters)
}
