//! The counters of an import: the number of records by kind and status.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};

use super::{ImportDb, staged};
use crate::{
    domain::{
        counters::Counters,
        enums::{Kind, Status},
        issue_ordinal::FIRST_WARNING,
    },
    error::ImportError,
};

/// Adds a delta to the counters, by upsert.
pub(crate) async fn add(
    db: ImportDb<'_, impl ConnectionTrait>,
    change: &Counters,
) -> Result<(), DbErr> {
    let row = |(kind, status, n): (Kind, Status, i64)| -> Vec<Value> {
        vec![kind.as_str().into(), status.as_str().into(), n.into()]
    };
    let rows = change.entries().map(row).collect();
    let on_conflict = "ON CONFLICT (practice_id, import_id, kind, status)
        DO UPDATE SET n = import_tally.n + excluded.n";
    db.upsert("import_tally", &["kind", "status", "n"], rows, on_conflict).await
}

/// Reads the counters.
pub(crate) async fn read(db: ImportDb<'_, impl ConnectionTrait>) -> Result<Counters, ImportError> {
    let rows = db.query(|sql| {
        format!("SELECT kind, status, n, warned FROM import_tally WHERE {}", sql.scope())
    });
    collect(&rows.await?)
}

/// Recomputes the number of records with a warning. Each record is counted by its first
/// warning.
pub(crate) async fn count_warned(db: ImportDb<'_, impl ConnectionTrait>) -> Result<(), DbErr> {
    let counted = db.execute(|sql| {
        format!(
            "WITH warned AS MATERIALIZED (SELECT kind, status, count(*) AS n FROM import_failure
              WHERE {} AND severity = 'WARNING' AND ordinal = {FIRST_WARNING}
              GROUP BY kind, status)
            UPDATE import_tally SET warned = COALESCE((SELECT w.n FROM warned w
              WHERE w.kind = import_tally.kind AND w.status = import_tally.status), 0)
            WHERE {}",
            sql.scope(),
            sql.scope()
        )
    });
    counted.await.map(drop)
}

/// Computes the counters from the records, to check the stored ones at the end.
pub(crate) async fn count(db: ImportDb<'_, impl ConnectionTrait>) -> Result<Counters, ImportError> {
    let rows = db.query(|sql| {
        format!(
            "SELECT kind, status, count(*) AS n, CAST(0 AS bigint) AS warned FROM import_record
             WHERE {} GROUP BY kind, status",
            sql.scope()
        )
    });
    collect(&rows.await?)
}

/// Recomputes the counters from the records and stores them. Records that were never
/// read are counted as `unread`.
pub(crate) async fn recount(
    db: ImportDb<'_, impl ConnectionTrait>,
    unread: Status,
) -> Result<Counters, ImportError> {
    let mut counted = count(db).await?;
    for kind in staged::unread(db).await? {
        counted.add(kind, unread, 1);
    }
    db.execute(|sql| format!("DELETE FROM import_tally WHERE {}", sql.scope())).await?;
    add(db, &counted).await?;
    count_warned(db).await?;
    Ok(counted)
}

fn collect(rows: &[QueryResult]) -> Result<Counters, ImportError> {
    let mut counters = Counters::default();
    for row in rows {
        let kind = row.try_get::<String>("", "kind")?.parse()?;
        let status = row.try_get::<String>("", "status")?.parse()?;
        counters.add(kind, status, row.try_get("", "n")?);
        counters.add_warned(kind, row.try_get("", "warned")?);
    }
    Ok(counters)
}
