//! The uploaded records.

use std::collections::HashMap;

use bytes::Bytes;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};

use super::{
    ImportDb,
    import_db::{ImportBinds, row_id},
    records,
};
use crate::{
    domain::{
        batch::{MAX_RECORD_BYTES, kind_of},
        enums::Kind,
        import::RowId,
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
    db: ImportDb<'_, impl ConnectionTrait>,
    batch: i64,
    records: &[Bytes],
) -> Result<(), DbErr> {
    let columns = ["row_no", "payload"];
    let text = |sql: &mut ImportBinds<'_>| {
        format!(
            "INSERT INTO import_staged (practice_id, import_id, batch, row_no, payload)
             SELECT {}, {}, {}, row_no, payload FROM v",
            sql.practice(),
            sql.import(),
            sql.bind(batch)
        )
    };
    let (mut rows, mut size) = (Vec::new(), 0);
    for (row, record) in (1_i64..).zip(records) {
        size += record.len();
        rows.push(vec![row.into(), Value::from(record.to_vec())]);
        if size >= CHUNK_BYTES {
            db.execute_list(&columns, std::mem::take(&mut rows), text).await?;
            size = 0;
        }
    }
    db.execute_list(&columns, rows, text).await
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
    db: ImportDb<'_, impl ConnectionTrait>,
    after: RowId,
    limit: u64,
) -> Result<Vec<StagedRow>, ImportError> {
    let rows = db.query(|sql| {
        format!(
            "SELECT row_no, payload, erased, NULL AS kind FROM import_staged
             WHERE {} AND batch = {} AND row_no > {}
             ORDER BY row_no LIMIT {limit}",
            sql.scope(),
            sql.bind(after.batch),
            sql.bind(after.row)
        )
    });
    read_page(after.batch, &rows.await?)
}

/// The records of a batch after a row that have no verdict: new records of a later
/// round, and records that are processed again.
pub(crate) async fn page_without_verdict(
    db: ImportDb<'_, impl ConnectionTrait>,
    after: RowId,
    limit: u64,
) -> Result<Vec<StagedRow>, ImportError> {
    let rows = db.query(|sql| {
        format!(
            "SELECT s.row_no, s.payload, s.erased, r.kind FROM import_staged s
             LEFT JOIN import_record r ON r.practice_id = s.practice_id
               AND r.import_id = s.import_id AND r.batch = s.batch AND r.row_no = s.row_no
             WHERE {} AND s.batch = {} AND s.row_no > {}
               AND (r.status IS NULL OR r.status = 'STAGED')
             ORDER BY s.row_no LIMIT {limit}",
            sql.scope_of("s"),
            sql.bind(after.batch),
            sql.bind(after.row)
        )
    });
    read_page(after.batch, &rows.await?)
}

fn read_page(batch: i64, rows: &[QueryResult]) -> Result<Vec<StagedRow>, ImportError> {
    let read = rows.iter().map(|row| {
        let kind: Option<String> = row.try_get("", "kind")?;
        Ok(StagedRow {
            at: RowId { batch, row: row.try_get("", "row_no")? },
            payload: row.try_get("", "payload")?,
            counted_as: kind.map(|kind| kind.parse()).transpose()?,
            erased: row.try_get("", "erased")?,
        })
    });
    read.collect()
}

/// The kinds of the records that were never read, one per record.
pub(crate) async fn unread(
    db: ImportDb<'_, impl ConnectionTrait>,
) -> Result<Vec<Kind>, ImportError> {
    let (mut kinds, mut after) = (Vec::new(), RowId::default());
    loop {
        let rows = db.query(|sql| {
            format!(
                "SELECT s.batch, s.row_no, s.payload FROM import_staged s
                 WHERE {} AND (s.batch, s.row_no) > {}
                   AND NOT EXISTS (SELECT 1 FROM import_record r
                     WHERE {} AND r.batch = s.batch AND r.row_no = s.row_no)
                 ORDER BY s.batch, s.row_no LIMIT {UNREAD_PAGE}",
                sql.scope_of("s"),
                sql.row_id(after),
                sql.scope_of("r")
            )
        });
        let rows = rows.await?;
        for row in &rows {
            after = records::row_id(row)?;
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
    db: ImportDb<'_, impl ConnectionTrait>,
    row_ids: impl IntoIterator<Item = RowId>,
) -> Result<HashMap<RowId, Vec<u8>>, DbErr> {
    let rows = row_ids.into_iter().map(row_id).collect();
    let rows = db.query_list(&["batch", "row_no"], rows, |sql| {
        format!(
            "SELECT batch, row_no,
               (SELECT s.payload FROM import_staged s WHERE {}
                 AND s.batch = v.batch AND s.row_no = v.row_no
                 AND length(s.payload) <= {MAX_RECORD_BYTES}) AS payload FROM v",
            sql.scope_of("s")
        )
    });
    let mut payloads = HashMap::new();
    for row in rows.await? {
        if let Some(payload) = row.try_get::<Option<Vec<u8>>>("", "payload")? {
            payloads.insert(records::row_id(&row)?, payload);
        }
    }
    Ok(payloads)
}
