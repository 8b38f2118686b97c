//! The possible duplicates of imported records.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};
use serde::{Deserialize, Serialize};

use super::{records, sql};
use crate::{
    domain::{
        duplicate::{DuplicateRow, OtherRecord, PossibleDuplicate},
        enums::Kind,
        import::{ImportKey, RowId},
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
    db: &impl ConnectionTrait,
    key: &ImportKey,
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
            sql::storable(&other.source_id).into(),
            sql::storable(&other.name).into(),
            sql::storable(&other.reference).into(),
        ]
    };
    let rows = duplicates.iter().map(row).collect();
    sql::insert(db, key, "import_duplicate", &columns, rows).await?;
    let text = "UPDATE import SET possible_duplicates = possible_duplicates + $3
        WHERE practice_id = $1 AND id = $2";
    let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
    sql::execute(db, text, sql::key_binds_with(key, [count.into()])).await.map(drop)
}

/// Removes the possible duplicates of some records.
pub(super) async fn remove(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    rows: impl Iterator<Item = RowId>,
) -> Result<(), DbErr> {
    let rows: Vec<RowId> = rows.collect();
    // The order makes the planner use the primary key.
    let statement = "SELECT count(*) AS n FROM v WHERE
        (SELECT d.field FROM import_duplicate d WHERE d.practice_id = $1 AND d.import_id = $2
          AND d.batch = v.batch AND d.row_no = v.row_no ORDER BY d.field LIMIT 1) IS NOT NULL";
    let list = rows.iter().copied().map(sql::row_id).collect();
    let columns = ["batch", "row_no"];
    let mut removed = 0;
    for counted in sql::query_with(db, &sql::key_binds(key), &columns, list, statement).await? {
        removed += counted.try_get::<i64>("", "n")?;
    }
    if removed == 0 {
        return Ok(());
    }
    sql::remove_by_row_ids(db, key, "import_duplicate", rows.into_iter()).await?;
    let text = "UPDATE import SET possible_duplicates = possible_duplicates - $3
        WHERE practice_id = $1 AND id = $2";
    sql::execute(db, text, sql::key_binds_with(key, [removed.into()])).await.map(drop)
}

pub(super) async fn recount(db: &impl ConnectionTrait, key: &ImportKey) -> Result<(), DbErr> {
    let text = "UPDATE import SET possible_duplicates =
          (SELECT count(*) FROM (SELECT DISTINCT d.batch, d.row_no FROM import_duplicate d
            WHERE d.practice_id = $1 AND d.import_id = $2) AS records)
        WHERE practice_id = $1 AND id = $2 AND possible_duplicates > 0";
    sql::execute(db, text, sql::key_binds(key)).await.map(drop)
}

/// Removes the possible duplicates of the records that are to be applied.
pub(crate) async fn remove_of_ready(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<(), DbErr> {
    let text = "DELETE FROM import_duplicate WHERE practice_id = $1 AND import_id = $2
        AND EXISTS (SELECT 1 FROM import_record r
          WHERE r.practice_id = $1 AND r.import_id = $2 AND r.batch = import_duplicate.batch
            AND r.row_no = import_duplicate.row_no AND r.status = 'READY')";
    sql::execute(db, text, sql::key_binds(key)).await?;
    recount(db, key).await
}

/// Removes all possible duplicates of an import.
pub(crate) async fn remove_all(db: &impl ConnectionTrait, key: &ImportKey) -> Result<(), DbErr> {
    let text = "DELETE FROM import_duplicate WHERE practice_id = $1 AND import_id = $2";
    sql::execute(db, text, sql::key_binds(key)).await?;
    let text = "UPDATE import SET possible_duplicates = 0 WHERE practice_id = $1 AND id = $2";
    sql::execute(db, text, sql::key_binds(key)).await.map(drop)
}

/// A page of possible duplicates after a position, `limit` at most, of one kind of
/// record or of all, by kind, source id and row; each with the id of its record.
pub(crate) async fn page(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    kind: Option<Kind>,
    after: &DuplicatePosition,
    limit: usize,
) -> Result<Vec<(DuplicateRow, String)>, ImportError> {
    let DuplicatePosition { kind: after_kind, source_id, batch, row, field } = after;
    let position: [Value; 5] = [
        after_kind.as_str().into(),
        source_id.as_str().into(),
        (*batch).into(),
        (*row).into(),
        field.as_str().into(),
    ];
    // With a kind filter, the position is always of that kind.
    let end = if kind.is_some() { "AND kind = $3" } else { "" };
    let text = format!(
        "SELECT d.*, (SELECT r.record_id FROM import_record r WHERE r.practice_id = $1
             AND r.import_id = $2 AND r.batch = d.batch AND r.row_no = d.row_no) AS record_id
         FROM import_duplicate d WHERE practice_id = $1 AND import_id = $2
         AND (kind, source_id, batch, row_no, field) > ($3, $4, $5, $6, $7) {end}
         ORDER BY kind, source_id, batch, row_no, field LIMIT {limit}"
    );
    let rows = sql::query(db, &text, sql::key_binds_with(key, position)).await?;
    rows.iter().map(read).collect()
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
