//! The records as they arrived.

use std::collections::HashMap;

use bytes::Bytes;
use sea_orm::{ConnectionTrait, DbErr, Value};

use super::sql;
use crate::{
    domain::{
        import::{ImportKey, RowId},
        words::Kind,
    },
    error::ImportError,
};

/// Records of one statement together, in bytes: so that a batch is not held
/// twice while it is written.
const CHUNK_BYTES: usize = 1_048_576;

/// Inserts the records of a batch; their rows count from 1.
pub(crate) async fn insert(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    batch: i64,
    records: &[Bytes],
) -> Result<(), DbErr> {
    let scope = sql::scoped(key, [batch.into()]);
    let statement = "INSERT INTO import_staged (practice_id, import_id, batch, row_no, payload)
        SELECT $1, $2, $3, row_no, payload FROM v";
    let (mut rows, mut size) = (Vec::new(), 0);
    for (row, record) in (1_i64..).zip(records) {
        size += record.len();
        rows.push(vec![row.into(), Value::from(record.to_vec())]);
        if size >= CHUNK_BYTES {
            let full = std::mem::take(&mut rows);
            sql::execute_with(db, &scope, &["row_no", "payload"], full, statement).await?;
            size = 0;
        }
    }
    sql::execute_with(db, &scope, &["row_no", "payload"], rows, statement).await
}

/// A record as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct StagedRow {
    pub(crate) at: RowId,
    pub(crate) payload: Vec<u8>,
    /// The kind by which it is counted, when it was read in an earlier round.
    pub(crate) counted_as: Option<Kind>,
}

/// The records of a batch after a row, `limit` of them.
pub(crate) async fn page(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    after: RowId,
    limit: u64,
) -> Result<Vec<StagedRow>, ImportError> {
    let text = format!(
        "SELECT row_no, payload, NULL AS kind FROM import_staged
         WHERE practice_id = $1 AND import_id = $2 AND batch = $3 AND row_no > $4
         ORDER BY row_no LIMIT {limit}"
    );
    read_page(db, key, after, &text).await
}

/// Those of them that have no verdict: the new ones of a later round, and those
/// that are processed again.
pub(crate) async fn page_without_verdict(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    after: RowId,
    limit: u64,
) -> Result<Vec<StagedRow>, ImportError> {
    let text = format!(
        "SELECT s.row_no, s.payload, r.kind FROM import_staged s
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
    let values = sql::scoped(key, [after.batch.into(), after.row.into()]);
    let rows = sql::query(db, text, values).await?;
    let read = rows.into_iter().map(|row| {
        let kind: Option<String> = row.try_get("", "kind")?;
        Ok(StagedRow {
            at: RowId { batch: after.batch, row: row.try_get("", "row_no")? },
            payload: row.try_get("", "payload")?,
            counted_as: kind.map(|kind| kind.parse()).transpose()?,
        })
    });
    read.collect()
}

/// Some records by their places.
pub(crate) async fn payloads(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    places: impl IntoIterator<Item = RowId>,
) -> Result<HashMap<RowId, Vec<u8>>, DbErr> {
    let statement = "SELECT batch, row_no,
        (SELECT s.payload FROM import_staged s WHERE s.practice_id = $1 AND s.import_id = $2
          AND s.batch = v.batch AND s.row_no = v.row_no) AS payload FROM v";
    let rows = places.into_iter().map(sql::row_id).collect();
    let rows = sql::query_with(db, &sql::scope(key), &["batch", "row_no"], rows, statement).await?;
    let mut payloads = HashMap::new();
    for row in rows {
        let at = RowId { batch: row.try_get("", "batch")?, row: row.try_get("", "row_no")? };
        if let Some(payload) = row.try_get::<Option<Vec<u8>>>("", "payload")? {
            payloads.insert(at, payload);
        }
    }
    Ok(payloads)
}
