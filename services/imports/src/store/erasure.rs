//! Erases the uploads of a record. Its position, kind, verdict and record id remain.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use concord_proto::pb::imports::{
    ImportAddress, ImportClient, ImportContact, ImportRecord, import_record::Record,
};
use prost::Message as _;
use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{counters, duplicates, edits, records, sql};
use crate::{
    domain::{
        counters::Counters,
        enums::{Kind, Status},
        import::{ImportKey, RowId},
    },
    error::ImportError,
};

/// An uploaded record with its result.
#[derive(Clone, Debug)]
pub(crate) struct UploadedRow {
    pub(crate) at: RowId,
    pub(crate) payload: Vec<u8>,
    /// `None` if it was not read yet.
    pub(crate) status: Option<Status>,
    pub(crate) record_id: Option<String>,
}

/// A record that is to be erased.
#[derive(Clone, Debug)]
pub(crate) struct ErasedRow {
    pub(crate) at: RowId,
    pub(crate) kind: Kind,
    /// Empty if it has no key.
    pub(crate) source_id: String,
    pub(crate) status: Option<Status>,
}

/// An import whose uploads are not purged.
#[derive(Clone, Debug)]
pub(crate) struct ImportWithUploads {
    pub(crate) key: ImportKey,
    pub(crate) known_erasure: i64,
}

/// Imports after a key, ordered by practice, whose uploads are not purged and that are
/// not running: the worker of a running import scans it itself.
pub(crate) async fn with_uploads(
    db: &impl ConnectionTrait,
    after: Option<&ImportKey>,
    limit: u64,
) -> Result<Vec<ImportWithUploads>, ImportError> {
    let (condition, values) = match after {
        Some(key) => ("AND (practice_id, id) > ($1, $2)", sql::key_binds(key)),
        None => ("", Vec::new()),
    };
    let text = format!(
        "SELECT practice_id, id, known_erasure FROM import
         WHERE purged_at IS NULL AND state NOT IN ('RESOLVING', 'APPLYING') {condition}
         ORDER BY practice_id, id LIMIT {limit}"
    );
    let rows = sql::query(db, &text, values).await?;
    let read = rows.into_iter().map(|row| {
        let practice = row.try_get::<String>("", "practice_id")?.parse();
        let practice = practice.map_err(|_| ImportError::Corrupt("practice id"))?;
        let key = ImportKey { practice, id: row.try_get("", "id")? };
        Ok(ImportWithUploads { key, known_erasure: row.try_get("", "known_erasure")? })
    });
    read.collect()
}

/// Stores the last erasure that was processed for an import.
pub(crate) async fn set_known_erasure(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    known: i64,
) -> Result<(), DbErr> {
    let text = "UPDATE import SET known_erasure = $3 WHERE practice_id = $1 AND id = $2";
    sql::execute(db, text, sql::key_binds_with(key, [known.into()])).await.map(drop)
}

/// Makes all imports be scanned for erasures again, after a database was restored.
pub(crate) async fn reset_known_erasures(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    sql::execute(db, "UPDATE import SET known_erasure = 0", Vec::new()).await.map(drop)
}

/// The upload times of the batches of an import, by ordinal.
pub(crate) async fn upload_times(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<HashMap<i64, DateTime<Utc>>, DbErr> {
    let text = "SELECT ordinal, staged_at FROM import_batch
        WHERE practice_id = $1 AND import_id = $2";
    let rows = sql::query(db, text, sql::key_binds(key)).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("", "ordinal")?, row.try_get("", "staged_at")?)))
        .collect()
}

/// A page of records after a row that are not erased, `limit` at most.
pub(crate) async fn page(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    after: RowId,
    limit: u64,
) -> Result<Vec<UploadedRow>, ImportError> {
    let text = format!(
        "SELECT s.batch, s.row_no, s.payload, r.status, r.record_id FROM import_staged s
         LEFT JOIN import_record r ON r.practice_id = s.practice_id AND r.import_id = s.import_id
           AND r.batch = s.batch AND r.row_no = s.row_no
         WHERE s.practice_id = $1 AND s.import_id = $2 AND (s.batch, s.row_no) > ($3, $4)
           AND NOT s.erased
         ORDER BY s.batch, s.row_no LIMIT {limit}"
    );
    let rows = sql::query(db, &text, sql::key_binds_with(key, sql::row_id(after))).await?;
    let read = rows.into_iter().map(|row| {
        let status: Option<String> = row.try_get("", "status")?;
        Ok(UploadedRow {
            at: records::row_id(&row)?,
            payload: row.try_get("", "payload")?,
            status: status.map(|status| status.parse()).transpose()?,
            record_id: row.try_get("", "record_id")?,
        })
    });
    read.collect()
}

/// Erases records. No worker may have a page with them in memory.
pub(crate) async fn erase(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    rows: &[ErasedRow],
) -> Result<(), DbErr> {
    let row_ids = || rows.iter().map(|row| row.at);
    empty_payloads(db, key, rows).await?;
    clear_root_causes(db, key, rows).await?;
    for table in ["import_failure", "import_parent"] {
        sql::remove_by_row_ids(db, key, table, row_ids()).await?;
    }
    let attempts = "DELETE FROM import_attempt WHERE practice_id = $1 AND import_id = $2
        AND (batch, row_no) IN (SELECT batch, row_no FROM v)";
    let list = row_ids().map(sql::row_id).collect();
    sql::execute_with(db, &sql::key_binds(key), &["batch", "row_no"], list, attempts).await?;
    duplicates::remove(db, key, row_ids()).await?;
    remove_keys(db, key, rows).await?;
    empty_records(db, key, rows).await?;
    let failures: Vec<_> = rows.iter().filter_map(failure).collect();
    edits::insert_failures(db, key, &failures).await?;
    let mut change = Counters::default();
    for row in rows.iter().filter(|row| row.status == Some(Status::Ready)) {
        change.shift(row.kind, Status::Ready, Status::Failed);
    }
    counters::add(db, key, &change).await
}

/// Replaces a text that quotes an erased record.
const ERASED_TEXT: &str = "The record that this named was erased";

/// Erases what an import stores of records outside it: the names of external parents
/// and possible duplicates, and texts that name the user of a reference.
pub(crate) async fn erase_external(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    record_ids: &[String],
) -> Result<(), DbErr> {
    let list = || record_ids.iter().map(|id| vec![Value::from(id.as_str())]).collect();
    for (table, column) in [("import_known", "record_id"), ("import_duplicate", "other_record_id")]
    {
        let text = format!(
            "DELETE FROM {table} WHERE practice_id = $1 AND import_id = $2
             AND {column} IN (SELECT record_id FROM v)"
        );
        sql::execute_with(db, &sql::key_binds(key), &["record_id"], list(), &text).await?;
    }
    // Few texts name a client, and those contain its id.
    for table in ["import_failure", "import_attempt"] {
        for (column, text) in [("reason_text", ERASED_TEXT), ("root_cause", "")] {
            let update = format!(
                "UPDATE {table} SET {column} = $3 WHERE practice_id = $1 AND import_id = $2
                 AND {column} LIKE '%(cli_%' AND EXISTS (SELECT 1 FROM v
                   WHERE {table}.{column} LIKE '%' || v.record_id || '%')"
            );
            let binds = sql::key_binds_with(key, [text.into()]);
            sql::execute_with(db, &binds, &["record_id"], list(), &update).await?;
        }
    }
    duplicates::recount(db, key).await?;
    counters::count_warned(db, key).await
}

/// The failure that replaces all failures of an erased record.
fn failure(row: &ErasedRow) -> Option<edits::NewFailure> {
    let status = match row.status? {
        Status::Ready => Status::Failed,
        status @ (Status::Failed | Status::Blocked | Status::Excluded | Status::Skipped) => status,
        _ => return None,
    };
    Some(edits::NewFailure::erased(row.at, row.kind, status))
}

/// The payload of an erased record, which still has its kind.
fn emptied(kind: Kind) -> Vec<u8> {
    let record = match kind {
        Kind::Client => Some(Record::Client(ImportClient::default())),
        Kind::Contact => Some(Record::Contact(ImportContact::default())),
        Kind::Address => Some(Record::Address(ImportAddress::default())),
        Kind::Unknown => None,
    };
    ImportRecord { record, ..ImportRecord::default() }.encode_to_vec()
}

async fn empty_payloads(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    rows: &[ErasedRow],
) -> Result<(), DbErr> {
    let row = |row: &ErasedRow| -> Vec<Value> {
        vec![row.at.batch.into(), row.at.row.into(), emptied(row.kind).into()]
    };
    let text = "INSERT INTO import_staged (practice_id, import_id, batch, row_no, payload, erased)
        SELECT $1, $2, batch, row_no, payload, true FROM v WHERE true
        ON CONFLICT (practice_id, import_id, batch, row_no)
        DO UPDATE SET payload = excluded.payload, erased = true";
    let columns = ["batch", "row_no", "payload"];
    sql::execute_with(db, &sql::key_binds(key), &columns, rows.iter().map(row).collect(), text)
        .await
}

/// Clears root causes of other records that may quote fields of an erased record.
async fn clear_root_causes(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    rows: &[ErasedRow],
) -> Result<(), DbErr> {
    let keyed = rows.iter().filter(|row| !row.source_id.is_empty());
    let cause = |row: &ErasedRow| -> Vec<Value> {
        vec![crate::domain::issue::root_cause(row.kind, &row.source_id, "").into()]
    };
    let causes: Vec<_> = keyed.map(cause).collect();
    for table in ["import_failure", "import_attempt"] {
        let text = format!(
            "UPDATE {table} SET root_cause = '' WHERE practice_id = $1 AND import_id = $2
             AND root_cause <> '' AND EXISTS (SELECT 1 FROM v
               WHERE substr({table}.root_cause, 1, length(v.cause)) = v.cause)"
        );
        sql::execute_with(db, &sql::key_binds(key), &["cause"], causes.clone(), &text).await?;
    }
    Ok(())
}

/// Removes rows that are stored under the keys of erased records.
async fn remove_keys(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    rows: &[ErasedRow],
) -> Result<(), DbErr> {
    let keyed = rows.iter().filter(|row| !row.source_id.is_empty());
    let list = |row: &ErasedRow| -> Vec<Value> {
        vec![row.kind.as_str().into(), row.source_id.as_str().into()]
    };
    let list: Vec<_> = keyed.map(list).collect();
    for (table, columns) in [
        ("import_known", "kind, source_id"),
        ("import_likeness", "kind, source_id"),
        ("import_duplicate", "other_kind, other_source_id"),
    ] {
        let text = format!(
            "DELETE FROM {table} WHERE practice_id = $1 AND import_id = $2
             AND ({columns}) IN (SELECT kind, source_id FROM v)"
        );
        let columns = ["kind", "source_id"];
        sql::execute_with(db, &sql::key_binds(key), &columns, list.clone(), &text).await?;
    }
    Ok(())
}

/// Clears the stored fields of erased records. An imported record keeps its verdict; a
/// record that waits to be applied fails; all others are read again in the next round,
/// which finds them erased.
async fn empty_records(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    rows: &[ErasedRow],
) -> Result<(), DbErr> {
    let read = rows.iter().filter(|row| row.status.is_some());
    let list = read.map(|row| sql::row_id(row.at)).collect();
    let text = "UPDATE import_record SET source_id = '', digest = $3, size_bytes = 0,
          reference = '', reference_key = NULL, timeline = NULL, active_from = NULL,
          active_to = NULL, ends_on = NULL,
          status = CASE status WHEN 'READY' THEN 'FAILED' ELSE status END
        WHERE practice_id = $1 AND import_id = $2
          AND (batch, row_no) IN (SELECT batch, row_no FROM v)";
    let binds = sql::key_binds_with(key, [Vec::<u8>::new().into()]);
    sql::execute_with(db, &binds, &["batch", "row_no"], list, text).await
}
