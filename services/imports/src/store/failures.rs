//! The failures of an import, in list order.

use sea_orm::{ConnectionTrait, DbErr, QueryResult};
use serde::{Deserialize, Serialize};

use super::{ImportDb, records};
use crate::{
    domain::{
        enums::{Kind, Severity},
        failure::FailureRow,
        issue::RecordIssue,
    },
    error::ImportError,
};

/// The filter of the list.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Filter {
    pub(crate) kind: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) severity: Option<String>,
}

/// The position in the list, for keyset pagination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailurePosition {
    severity: String,
    kind: String,
    source_id: String,
    batch: i64,
    row: i64,
    ordinal: i64,
}

impl FailurePosition {
    /// The position of a row.
    pub(crate) fn of(row: &FailureRow) -> Self {
        Self {
            severity: row.issue.severity.as_str().to_owned(),
            kind: row.kind.as_str().to_owned(),
            source_id: row.source_id.clone(),
            batch: row.at.batch,
            row: row.at.row,
            ordinal: row.ordinal,
        }
    }
}

/// A page of failures after a position, `limit` at most: errors before warnings, then
/// by kind, source id and row.
pub(crate) async fn page(
    db: ImportDb<'_, impl ConnectionTrait>,
    filter: &Filter,
    after: Option<&FailurePosition>,
    limit: usize,
) -> Result<Vec<FailureRow>, ImportError> {
    let mut found = Vec::new();
    // The list order of severities and kinds is not the order of their strings: one
    // query for each pair.
    let mut all = Vec::with_capacity(Severity::ALL.len() * Kind::ALL.len());
    for severity in Severity::ALL {
        all.extend(Kind::ALL.iter().map(|kind| (*severity, *kind)));
    }
    let start = all.iter().position(|(severity, kind)| {
        after
            .is_some_and(|after| severity.as_str() == after.severity && kind.as_str() == after.kind)
    });
    for (severity, kind) in all.into_iter().skip(start.unwrap_or(0)) {
        let matches = |wanted: &Option<String>, value: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == value)
        };
        if !matches(&filter.kind, kind.as_str()) || !matches(&filter.severity, severity.as_str()) {
            continue;
        }
        let after = after
            .filter(|after| after.severity == severity.as_str() && after.kind == kind.as_str());
        let room = limit - found.len();
        found.extend(of_kind(db, (severity, kind), filter, after, room).await?);
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// Removes the warnings of records that a dry run would have accepted.
pub(crate) async fn remove_warnings(db: ImportDb<'_, impl ConnectionTrait>) -> Result<(), DbErr> {
    let removed = db.execute(|sql| {
        format!(
            "DELETE FROM import_failure WHERE {}
             AND severity = 'WARNING' AND status IN ('IMPORTED', 'LINKED')",
            sql.scope()
        )
    });
    removed.await.map(drop)
}

async fn of_kind(
    db: ImportDb<'_, impl ConnectionTrait>,
    (severity, kind): (Severity, Kind),
    filter: &Filter,
    after: Option<&FailurePosition>,
    limit: usize,
) -> Result<Vec<FailureRow>, ImportError> {
    let rows = db.query(|sql| {
        let of_record = sql.scope_of("r");
        let mut conditions = format!(
            "{} AND severity = {} AND kind = {}",
            sql.scope(),
            sql.bind(severity.as_str()),
            sql.bind(kind.as_str())
        );
        if let Some(FailurePosition { source_id, batch, row, ordinal, .. }) = after {
            conditions = format!(
                "{conditions} AND source_id >= {} AND (source_id > {} OR batch > {}
                   OR (batch = {} AND (row_no > {} OR (row_no = {} AND ordinal > {}))))",
                sql.bind(source_id.as_str()),
                sql.bind(source_id.as_str()),
                sql.bind(*batch),
                sql.bind(*batch),
                sql.bind(*row),
                sql.bind(*row),
                sql.bind(*ordinal)
            );
        }
        for (column, wanted) in [("status", &filter.status), ("reason", &filter.reason)] {
            if let Some(wanted) = wanted {
                conditions = format!("{conditions} AND {column} = {}", sql.bind(wanted.as_str()));
            }
        }
        format!(
            "SELECT batch, row_no, ordinal, source_id, status, field, reason, reason_text,
               root_cause, (SELECT r.round FROM import_record r WHERE {of_record}
                 AND r.batch = import_failure.batch AND r.row_no = import_failure.row_no) AS round
             FROM import_failure WHERE {conditions}
             ORDER BY source_id, batch, row_no, ordinal LIMIT {limit}"
        )
    });
    rows.await?.into_iter().map(|row| read(severity, kind, &row)).collect()
}

fn read(severity: Severity, kind: Kind, row: &QueryResult) -> Result<FailureRow, ImportError> {
    let text = |column: &str| row.try_get::<String>("", column);
    Ok(FailureRow {
        at: records::row_id(row)?,
        ordinal: row.try_get("", "ordinal")?,
        kind,
        source_id: text("source_id")?,
        status: records::status(row)?,
        round: row.try_get::<Option<i64>>("", "round")?.unwrap_or(1),
        issue: RecordIssue {
            field: text("field")?,
            reason: text("reason")?,
            text: text("reason_text")?,
            root_cause: text("root_cause")?,
            severity,
        },
    })
}
