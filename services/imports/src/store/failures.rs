//! What went wrong, in the order in which it is listed.

use sea_orm::{ConnectionTrait, QueryResult, Value};
use serde::{Deserialize, Serialize};

use super::{records, sql};
use crate::{
    domain::{
        finding::Finding,
        import::{ImportKey, RowId},
        words::{Kind, Status},
    },
    error::ImportError,
};

/// One failure.
#[derive(Clone, Debug)]
pub(crate) struct FailureRow {
    pub(crate) at: RowId,
    pub(crate) ordinal: i64,
    pub(crate) kind: Kind,
    /// Empty when the record has no key.
    pub(crate) source_id: String,
    pub(crate) status: Status,
    /// The round in which the record was judged last.
    pub(crate) round: i64,
    pub(crate) finding: Finding,
}

/// Which failures to list.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Filter {
    pub(crate) kind: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) reason: Option<String>,
}

/// A place in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailurePosition {
    kind: String,
    source_id: String,
    batch: i64,
    row: i64,
    ordinal: i64,
}

impl FailureRow {
    /// Its place in the list.
    pub(crate) fn position(&self) -> FailurePosition {
        FailurePosition {
            kind: self.kind.as_str().to_owned(),
            source_id: self.source_id.clone(),
            batch: self.at.batch,
            row: self.at.row,
            ordinal: self.ordinal,
        }
    }
}

/// The failures after a position, `limit` of them: by kind, source id and row.
pub(crate) async fn page(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    filter: &Filter,
    after: Option<&FailurePosition>,
    limit: usize,
) -> Result<Vec<FailureRow>, ImportError> {
    let mut found = Vec::new();
    // The kinds are not in the order of their names: one query for each.
    let begun =
        after.and_then(|after| Kind::ALL.iter().position(|kind| kind.as_str() == after.kind));
    let first = begun.unwrap_or(0);
    for kind in Kind::ALL.iter().skip(first) {
        if filter.kind.as_ref().is_some_and(|wanted| wanted != kind.as_str()) {
            continue;
        }
        let after = after.filter(|after| after.kind == kind.as_str());
        found.extend(of_kind(db, key, *kind, filter, after, limit - found.len()).await?);
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

async fn of_kind(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    kind: Kind,
    filter: &Filter,
    after: Option<&FailurePosition>,
    limit: usize,
) -> Result<Vec<FailureRow>, ImportError> {
    let mut values = sql::scoped(key, [kind.as_str().into()]);
    let mut conditions = String::from("practice_id = $1 AND import_id = $2 AND kind = $3");
    if let Some(after) = after {
        let position: [Value; 4] = [
            after.source_id.as_str().into(),
            after.batch.into(),
            after.row.into(),
            after.ordinal.into(),
        ];
        values.extend(position);
        conditions += " AND source_id >= $4 AND (source_id > $4 OR batch > $5
            OR (batch = $5 AND (row_no > $6 OR (row_no = $6 AND ordinal > $7))))";
    }
    for (column, wanted) in [("status", &filter.status), ("reason", &filter.reason)] {
        if let Some(wanted) = wanted {
            values.push(wanted.as_str().into());
            conditions = format!("{conditions} AND {column} = ${}", values.len());
        }
    }
    let text = format!(
        "SELECT batch, row_no, ordinal, source_id, status, field, reason, reason_text, root_cause,
           (SELECT r.round FROM import_record r WHERE r.practice_id = $1 AND r.import_id = $2
             AND r.batch = import_failure.batch AND r.row_no = import_failure.row_no) AS round
         FROM import_failure WHERE {conditions}
         ORDER BY source_id, batch, row_no, ordinal LIMIT {limit}"
    );
    let rows = sql::query(db, &text, values).await?;
    rows.into_iter().map(|row| read(kind, &row)).collect()
}

fn read(kind: Kind, row: &QueryResult) -> Result<FailureRow, ImportError> {
    let text = |column: &str| row.try_get::<String>("", column);
    Ok(FailureRow {
        at: records::row_id(row)?,
        ordinal: row.try_get("", "ordinal")?,
        kind,
        source_id: text("source_id")?,
        status: records::status(row)?,
        round: row.try_get::<Option<i64>>("", "round")?.unwrap_or(1),
        finding: Finding {
            field: text("field")?,
            reason: text("reason")?,
            text: text("reason_text")?,
            root_cause: text("root_cause")?,
        },
    })
}
