//! How many records of an import are in which status.

use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{edits::WARNING, sql, staged};
use crate::{
    domain::{import::ImportKey, tally::Tally, words::Status},
    error::ImportError,
};

/// Adds a change to the numbers.
pub(crate) async fn add(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    change: &Tally,
) -> Result<(), DbErr> {
    let row = |(kind, status, n): (_, _, i64)| -> Vec<Value> {
        let (kind, status): (crate::domain::words::Kind, crate::domain::words::Status) =
            (kind, status);
        vec![kind.as_str().into(), status.as_str().into(), n.into()]
    };
    let rows = change.entries().map(row).collect();
    let statement = "INSERT INTO import_tally (practice_id, import_id, kind, status, n)
        SELECT $1, $2, kind, status, n FROM v WHERE true
        ON CONFLICT (practice_id, import_id, kind, status)
        DO UPDATE SET n = import_tally.n + excluded.n";
    sql::execute_with(db, &sql::scope(key), &["kind", "status", "n"], rows, statement).await
}

/// The numbers.
pub(crate) async fn read(db: &impl ConnectionTrait, key: &ImportKey) -> Result<Tally, ImportError> {
    let text = "SELECT kind, status, n, warned FROM import_tally
        WHERE practice_id = $1 AND import_id = $2";
    collect(db, key, text).await
}

/// Counts the records that have a warning, by the first warning of each.
pub(crate) async fn count_warned(db: &impl ConnectionTrait, key: &ImportKey) -> Result<(), DbErr> {
    let text = format!(
        "WITH warned AS MATERIALIZED (SELECT kind, status, count(*) AS n FROM import_failure
          WHERE practice_id = $1 AND import_id = $2 AND severity = 'WARNING'
            AND ordinal = {WARNING} GROUP BY kind, status)
        UPDATE import_tally SET warned = COALESCE((SELECT w.n FROM warned w
          WHERE w.kind = import_tally.kind AND w.status = import_tally.status), 0)
        WHERE practice_id = $1 AND import_id = $2"
    );
    sql::execute(db, &text, sql::scope(key)).await.map(drop)
}

/// The numbers, counted anew from the records: for the check at the end.
pub(crate) async fn count(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<Tally, ImportError> {
    let text = "SELECT kind, status, count(*) AS n, CAST(0 AS bigint) AS warned FROM import_record
        WHERE practice_id = $1 AND import_id = $2 GROUP BY kind, status";
    collect(db, key, text).await
}

/// Recounts the records, and stores these numbers from now on. Records that were never
/// read are counted as `unread`.
pub(crate) async fn recount(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    unread: Status,
) -> Result<Tally, ImportError> {
    let mut counted = count(db, key).await?;
    for kind in staged::unread(db, key).await? {
        counted.add(kind, unread, 1);
    }
    let text = "DELETE FROM import_tally WHERE practice_id = $1 AND import_id = $2";
    sql::execute(db, text, sql::scope(key)).await?;
    add(db, key, &counted).await?;
    count_warned(db, key).await?;
    Ok(counted)
}

async fn collect(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    text: &str,
) -> Result<Tally, ImportError> {
    let rows = sql::query(db, text, sql::scope(key)).await?;
    let mut tally = Tally::default();
    for row in rows {
        let kind = row.try_get::<String>("", "kind")?.parse()?;
        let status = row.try_get::<String>("", "status")?.parse()?;
        tally.add(kind, status, row.try_get("", "n")?);
        tally.add_warned(kind, row.try_get("", "warned")?);
    }
    Ok(tally)
}
