//! The uploaded records.

use std::collections::HashMap;

use bytes::Bytes;
use sea_orm::{ConnectionTrait, DbErr, Value};

use super::sql;
use crate::{
    domain::{
        batch::{MAX_RECORD_BYTES, kind_of},
        enums::Kind,
        import::{ImportKey, RowId},
    },
    error::ImportError,
};

/// Size of the records of one statement, in bytes, so that a batch is not buffered
/// twice while it is written.
const CHUNK_BYTES: usize = 1_048_576;

/// Unread records per query.
const UNREAD_PAGE: usize = 100;

/// Inserts the records of a batch; rows are numbered from 1.
pub(crate) async fn insert(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    batch: i64,
    records: &[Bytes],
) -> Result<(), DbErr> {
    let binds = sql::key_binds_with(key, [batch.into()]);
    let statement = "INSERT INTO import_staged (practice_id, import_id, batch, row_no, payload)
        SELECT $1, $2, $3, row_no, payload FROM v";
    let (mut rows, mut size) = (Vec::new(), 0);
    for (row, record) in (1_i64..).zip(records) {
        size += record.len();
        rows.push(vec![row.into(), Value::from(record.to_vec())]);
        if size >= CHUNK_BYTES {
            let full = std::mem::take(&mut rows);
            sql::execute_with(db, &binds, &["row_no", "payload"], full, statement).await?;
            size = 0;
        }
    }
    sql::execute_with(db, &binds, &["row_no", "payload"], rows, statement).await
}

/// An uploaded record.
#[derive(Clone, Debug)]
pub(crate) struct StagedRow {
    pub(crate) at: RowId,
    pub(crate) payload: Vec<u8>,
    /// The kind that the counters have for it, if it was read in an earlier round.
    pub(crate) counted_as: Option<Kind>,
    /// Whether it is erased: its payload has only its kind.
    pub(crate) erased: bool,
}

/// The records of a batch after a row, `limit` at most.
pub(crate) async fn page(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    after: RowId,
    limit: u64,
) -> Result<Vec<StagedRow>, ImportError> {
    let text = format!(
        "SELECT row_no, payload, erased, NULL AS kind FROM import_staged
         WHERE practice_id = $1 AND import_id = $2 AND batch = $3 AND row_no > $4
         ORDER BY row_no LIMIT {limit}"
    );
    read_page(db, key, after, &text).await
}

/// The records of a batch after a row that have no verdict: new records of a later
/// round, and records that are processed again.
pub(crate) async fn page_without_verdict(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    after: RowId,
    limit: u64,
) -> Result<Vec<StagedRow>, ImportError> {
    let text = format!(
        "SELECT s.row_no, s.payload, s.erased, r.kind FROM import_staged s
         LEFT JOIN import_record r ON r.practice_id = s.practice_id AND r.import_id = s.import_id
           AND r.batch = s.batch AND r.row_no = s.row_no
         WHERE s.practice_id = $1 AND s.import_id = $2 AND s.batch = $3 AND s.row_no > $4
           AND (r.status IS NULL OR r.status = 'STAGED')
         ORDER BY s.row_no LIMIT {limit}"
    );
    read_page(db, key, after, &text).await
}

async fn read_page(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    after: RowId,
    text: &str,
) -> Result<Vec<StagedRow>, ImportError> {
    let values = sql::key_binds_with(key, [after.batch.into(), after.row.into()]);
    let rows = sql::query(db, text, values).await?;
    let read = rows.into_iter().map(|row| {
        let kind: Option<String> = row.try_get("", "kind")?;
        Ok(StagedRow {
            at: RowId { batch: after.batch, row: row.try_get("", "row_no")? },
            payload: row.try_get("", "payload")?,
            counted_as: kind.map(|kind| kind.parse()).transpose()?,
            erased: row.try_get("", "erased")?,
        })
    });
    read.collect()
}

/// The kinds of the records that were never read, one per record.
pub(crate) async fn unread(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<Vec<Kind>, ImportError> {
    let text = format!(
        "SELECT s.batch, s.row_no, s.payload FROM import_staged s
         WHERE s.practice_id = $1 AND s.import_id = $2 AND (s.batch, s.row_no) > ($3, $4)
           AND NOT EXISTS (SELECT 1 FROM import_record r
             WHERE r.practice_id = $1 AND r.import_id = $2
               AND r.batch = s.batch AND r.row_no = s.row_no)
         ORDER BY s.batch, s.row_no LIMIT {UNREAD_PAGE}"
    );
    let (mut kinds, mut after) = (Vec::new(), RowId { batch: 0, row: 0 });
    loop {
        let values = sql::key_binds_with(key, [after.batch.into(), after.row.into()]);
        let rows = sql::query(db, &text, values).await?;
        for row in &rows {
            after = RowId { batch: row.try_get("", "batch")?, row: row.try_get("", "row_no")? };
            kinds.push(kind_of(&row.try_get::<Vec<u8>>("", "payload")?));
        }
        if rows.len() < UNREAD_PAGE {
            return Ok(kinds);
        }
    }
}

/// The payloads of some records. Records over the size limit are excluded, because
/// together they would take too much memory.
pub(crate) async fn payloads(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    row_ids: impl IntoIterator<Item = RowId>,
) -> Result<HashMap<RowId, Vec<u8>>, DbErr> {
    let statement = format!(
        "SELECT batch, row_no,
           (SELECT s.payload FROM import_staged s WHERE s.practice_id = $1 AND s.import_id = $2
             AND s.batch = v.batch AND s.row_no = v.row_no
             AND length(s.payload) <= {MAX_RECORD_BYTES}) AS payload FROM v"
    );
    let rows = row_ids.into_iter().map(sql::row_id).collect();
    let columns = ["batch", "row_no"];
    let rows = sql::query_with(db, &sql::key_binds(key), &columns, rows, &statement).await?;
    let mut payloads = HashMap::new();
    for row in rows {
        let at = RowId { batch: row.try_get("", "batch")?, row: row.try_get("", "row_no")? };
        if let Some(payload) = row.try_get::<Option<Vec<u8>>>("", "payload")? {
            payloads.insert(at, payload);
        }
    }
    Ok(payloads)
}
