//! The possible duplicates of imported records.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};
use serde::{Deserialize, Serialize};

use super::{ImportDb, import_db::row_id, records, storable};
use crate::{
    domain::{
        duplicate::{DuplicateRow, OtherRecord, PossibleDuplicate},
        enums::Kind,
        import::RowId,
    },
    error::ImportError,
};

/// The position in the list, for keyset pagination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DuplicatePosition {
    kind: String,
    source_id: String,
    batch: i64,
    row: i64,
    field: String,
}

impl DuplicatePosition {
    /// The position of a row.
    pub(crate) fn of(row: &DuplicateRow) -> Self {
        Self {
            kind: row.kind.as_str().to_owned(),
            source_id: row.source_id.clone(),
            batch: row.at.batch,
            row: row.at.row,
            field: row.duplicate.field.clone(),
        }
    }

    /// The position before all rows, or all rows of `kind`.
    pub(crate) fn start(kind: Option<Kind>) -> Self {
        let kind = kind.map(Kind::as_str).unwrap_or_default().to_owned();
        Self { kind, source_id: String::new(), batch: 0, row: 0, field: String::new() }
    }
}

/// Adds the possible duplicates of records that had none, and increases the count of
/// such records.
pub(super) async fn add(
    db: ImportDb<'_, impl ConnectionTrait>,
    duplicates: &[DuplicateRow],
) -> Result<(), DbErr> {
    let mut records: Vec<RowId> = duplicates.iter().map(|row| row.at).collect();
    records.sort_unstable();
    records.dedup();
    if records.is_empty() {
        return Ok(());
    }
    let columns = [
        "batch",
        "row_no",
        "field",
        "kind",
        "source_id",
        "other_kind",
        "other_record_id",
        "other_source_id",
        "other_name",
        "other_reference",
    ];
    let row = |row: &DuplicateRow| -> Vec<Value> {
        let PossibleDuplicate { field, other } = &row.duplicate;
        vec![
            row.at.batch.into(),
            row.at.row.into(),
            field.as_str().into(),
            row.kind.as_str().into(),
            row.source_id.as_str().into(),
            other.kind.as_str().into(),
            other.record_id.as_str().into(),
            storable(&other.source_id).into(),
            storable(&other.name).into(),
            storable(&other.reference).into(),
        ]
    };
    let rows = duplicates.iter().map(row).collect();
    db.insert("import_duplicate", &columns, rows).await?;
    let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
    let counted = db.execute(|sql| {
        format!(
            "UPDATE import SET possible_duplicates = possible_duplicates + {} WHERE {}",
            sql.bind(count),
            sql.is_import()
        )
    });
    counted.await.map(drop)
}

/// Removes the possible duplicates of some records.
pub(super) async fn remove(
    db: ImportDb<'_, impl ConnectionTrait>,
    rows: impl Iterator<Item = RowId>,
) -> Result<(), DbErr> {
    let rows: Vec<RowId> = rows.collect();
    let list = rows.iter().copied().map(row_id).collect();
    let with_duplicates = db.query_list(&["batch", "row_no"], list, |sql| {
        // The order makes the planner use the primary key.
        format!(
            "SELECT count(*) AS n FROM v WHERE
             (SELECT d.field FROM import_duplicate d WHERE {}
               AND d.batch = v.batch AND d.row_no = v.row_no ORDER BY d.field LIMIT 1) IS NOT NULL",
            sql.scope_of("d")
        )
    });
    let mut removed = 0;
    for counted in with_duplicates.await? {
        removed += counted.try_get::<i64>("", "n")?;
    }
    if removed == 0 {
        return Ok(());
    }
    db.remove_by_row_ids("import_duplicate", rows.into_iter()).await?;
    let counted = db.execute(|sql| {
        format!(
            "UPDATE import SET possible_duplicates = possible_duplicates - {} WHERE {}",
            sql.bind(removed),
            sql.is_import()
        )
    });
    counted.await.map(drop)
}

pub(super) async fn recount(db: ImportDb<'_, impl ConnectionTrait>) -> Result<(), DbErr> {
    let counted = db.execute(|sql| {
        format!(
            "UPDATE import SET possible_duplicates =
               (SELECT count(*) FROM (SELECT DISTINCT d.batch, d.row_no FROM import_duplicate d
                 WHERE {}) AS records)
             WHERE {} AND possible_duplicates > 0",
            sql.scope_of("d"),
            sql.is_import()
        )
    });
    counted.await.map(drop)
}

/// Removes the possible duplicates of the records that are to be applied.
pub(crate) async fn remove_of_ready(db: ImportDb<'_, impl ConnectionTrait>) -> Result<(), DbErr> {
    db.execute(|sql| {
        format!(
            "DELETE FROM import_duplicate WHERE {}
             AND EXISTS (SELECT 1 FROM import_record r
               WHERE {} AND r.batch = import_duplicate.batch
                 AND r.row_no = import_duplicate.row_no AND r.status = 'READY')",
            sql.scope(),
            sql.scope_of("r")
        )
    })
    .await?;
    recount(db).await
}

/// Removes all possible duplicates of an import.
pub(crate) async fn remove_all(db: ImportDb<'_, impl ConnectionTrait>) -> Result<(), DbErr> {
    db.execute(|sql| format!("DELETE FROM import_duplicate WHERE {}", sql.scope())).await?;
    let counted = db.execute(|sql| {
        format!("UPDATE import SET possible_duplicates = 0 WHERE {}", sql.is_import())
    });
    counted.await.map(drop)
}

/// A page of possible duplicates after a position, `limit` at most, of one kind of
/// record or of all, by kind, source id and row; each with the id of its record.
pub(crate) async fn page(
    db: ImportDb<'_, impl ConnectionTrait>,
    kind: Option<Kind>,
    after: &DuplicatePosition,
    limit: usize,
) -> Result<Vec<(DuplicateRow, String)>, ImportError> {
    let DuplicatePosition { kind: after_kind, source_id, batch, row, field } = after;
    let rows = db.query(|sql| {
        let of_record = sql.scope_of("r");
        let mut conditions = format!(
            "{} AND (kind, source_id, batch, row_no, field) > ({}, {}, {}, {}, {})",
            sql.scope(),
            sql.bind(after_kind.as_str()),
            sql.bind(source_id.as_str()),
            sql.bind(*batch),
            sql.bind(*row),
            sql.bind(field.as_str())
        );
        if let Some(kind) = kind {
            conditions = format!("{conditions} AND kind = {}", sql.bind(kind.as_str()));
        }
        format!(
            "SELECT d.*, (SELECT r.record_id FROM import_record r WHERE {of_record}
                 AND r.batch = d.batch AND r.row_no = d.row_no) AS record_id
             FROM import_duplicate d WHERE {conditions}
             ORDER BY kind, source_id, batch, row_no, field LIMIT {limit}"
        )
    });
    rows.await?.iter().map(read).collect()
}

fn read(row: &QueryResult) -> Result<(DuplicateRow, String), ImportError> {
    let text = |column: &str| row.try_get::<String>("", column);
    let other = OtherRecord {
        kind: text("other_kind")?.parse()?,
        record_id: text("other_record_id")?,
        source_id: text("other_source_id")?,
        name: text("other_name")?,
        reference: text("other_reference")?,
    };
    let found = DuplicateRow {
        at: records::row_id(row)?,
        kind: text("kind")?.parse()?,
        source_id: text("source_id")?,
        duplicate: PossibleDuplicate { field: text("field")?, other },
    };
    let record_id: Option<String> = row.try_get("", "record_id")?;
    Ok((found, record_id.unwrap_or_default()))
}
