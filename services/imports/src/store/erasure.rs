//! Erases the uploads of a record. Its position, kind, verdict and record id remain.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use concord_proto::pb::imports::{
    ImportAddress, ImportClient, ImportContact, ImportRecord, import_record::Record,
};
use prost::Message as _;
use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{ImportDb, counters, duplicates, edits, import_db::row_id, records};
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
    let rows = concord_db::query(db, |sql| {
        let is_after = after.map(|key| {
            let (practice, id) = (sql.bind(key.practice.as_str()), sql.bind(key.id));
            format!("AND (practice_id, id) > ({practice}, {id})")
        });
        format!(
            "SELECT practice_id, id, known_erasure FROM import
             WHERE purged_at IS NULL AND state NOT IN ('RESOLVING', 'APPLYING') {}
             ORDER BY practice_id, id LIMIT {limit}",
            is_after.unwrap_or_default()
        )
    });
    let read = rows.await?.into_iter().map(|row| {
        let practice = row.try_get::<String>("", "practice_id")?.parse();
        let practice = practice.map_err(|_| ImportError::Corrupt("practice id"))?;
        let key = ImportKey { practice, id: row.try_get("", "id")? };
        Ok(ImportWithUploads { key, known_erasure: row.try_get("", "known_erasure")? })
    });
    read.collect()
}

/// Stores the last erasure that was processed for an import.
pub(crate) async fn set_known_erasure(
    db: ImportDb<'_, impl ConnectionTrait>,
    known: i64,
) -> Result<(), DbErr> {
    let stored = db.execute(|sql| {
        format!("UPDATE import SET known_erasure = {} WHERE {}", sql.bind(known), sql.is_import())
    });
    stored.await.map(drop)
}

/// Makes all imports be scanned for erasures again, after a database was restored.
pub(crate) async fn reset_known_erasures(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let text = "UPDATE import SET known_erasure = 0".to_owned();
    concord_db::execute(db, |_| text).await.map(drop)
}

/// The upload times of the batches of an import, by ordinal.
pub(crate) async fn upload_times(
    db: ImportDb<'_, impl ConnectionTrait>,
) -> Result<HashMap<i64, DateTime<Utc>>, DbErr> {
    let rows = db
        .query(|sql| format!("SELECT ordinal, staged_at FROM import_batch WHERE {}", sql.scope()));
    rows.await?
        .iter()
        .map(|row| Ok((row.try_get("", "ordinal")?, row.try_get("", "staged_at")?)))
        .collect()
}

/// A page of records after a row that are not erased, `limit` at most.
pub(crate) async fn page(
    db: ImportDb<'_, impl ConnectionTrait>,
    after: RowId,
    limit: u64,
) -> Result<Vec<UploadedRow>, ImportError> {
    let rows = db.query(|sql| {
        format!(
            "SELECT s.batch, s.row_no, s.payload, r.status, r.record_id FROM import_staged s
             LEFT JOIN import_record r ON r.practice_id = s.practice_id
               AND r.import_id = s.import_id AND r.batch = s.batch AND r.row_no = s.row_no
             WHERE {} AND (s.batch, s.row_no) > {} AND NOT s.erased
             ORDER BY s.batch, s.row_no LIMIT {limit}",
            sql.scope_of("s"),
            sql.row_id(after)
        )
    });
    let read = rows.await?.into_iter().map(|row| {
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
    db: ImportDb<'_, impl ConnectionTrait>,
    rows: &[ErasedRow],
) -> Result<(), DbErr> {
    let row_ids = || rows.iter().map(|row| row.at);
    empty_payloads(db, rows).await?;
    clear_root_causes(db, rows).await?;
    for table in ["import_failure", "import_parent"] {
        db.remove_by_row_ids(table, row_ids()).await?;
    }
    let list = row_ids().map(row_id).collect();
    let attempts = db.execute_list(&["batch", "row_no"], list, |sql| {
        format!(
            "DELETE FROM import_attempt WHERE {}
             AND (batch, row_no) IN (SELECT batch, row_no FROM v)",
            sql.scope()
        )
    });
    attempts.await?;
    duplicates::remove(db, row_ids()).await?;
    remove_keys(db, rows).await?;
    empty_records(db, rows).await?;
    let failures: Vec<_> = rows.iter().filter_map(failure).collect();
    edits::insert_failures(db, &failures).await?;
    let mut change = Counters::default();
    for row in rows.iter().filter(|row| row.status == Some(Status::Ready)) {
        change.shift(row.kind, Status::Ready, Status::Failed);
    }
    counters::add(db, &change).await
}

/// Replaces a text that quotes an erased record.
const ERASED_TEXT: &str = "The record that this named was erased";

/// Erases what an import stores of records outside it: the names of external parents
/// and possible duplicates, and texts that name the user of a reference.
pub(crate) async fn erase_external(
    db: ImportDb<'_, impl ConnectionTrait>,
    record_ids: &[String],
) -> Result<(), DbErr> {
    let list = || record_ids.iter().map(|id| vec![Value::from(id.as_str())]).collect();
    for (table, column) in [("import_known", "record_id"), ("import_duplicate", "other_record_id")]
    {
        let removed = db.execute_list(&["record_id"], list(), |sql| {
            format!(
                "DELETE FROM {table} WHERE {} AND {column} IN (SELECT record_id FROM v)",
                sql.scope()
            )
        });
        removed.await?;
    }
    // Few texts name a client, and those contain its id.
    for table in ["import_failure", "import_attempt"] {
        for (column, text) in [("reason_text", ERASED_TEXT), ("root_cause", "")] {
            let erased = db.execute_list(&["record_id"], list(), |sql| {
                format!(
                    "UPDATE {table} SET {column} = {} WHERE {}
                     AND {column} LIKE '%(cli_%' AND EXISTS (SELECT 1 FROM v
                       WHERE {table}.{column} LIKE '%' || v.record_id || '%')",
                    sql.bind(text),
                    sql.scope()
                )
            });
            erased.await?;
        }
    }
    duplicates::recount(db).await?;
    counters::count_warned(db).await
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
    db: ImportDb<'_, impl ConnectionTrait>,
    rows: &[ErasedRow],
) -> Result<(), DbErr> {
    let row = |row: &ErasedRow| -> Vec<Value> {
        vec![row.at.batch.into(), row.at.row.into(), emptied(row.kind).into(), true.into()]
    };
    let columns = ["batch", "row_no", "payload", "erased"];
    let on_conflict = "ON CONFLICT (practice_id, import_id, batch, row_no)
        DO UPDATE SET payload = excluded.payload, erased = excluded.erased";
    db.upsert("import_staged", &columns, rows.iter().map(row).collect(), on_conflict).await
}

/// Clears root causes of other records that may quote fields of an erased record.
async fn clear_root_causes(
    db: ImportDb<'_, impl ConnectionTrait>,
    rows: &[ErasedRow],
) -> Result<(), DbErr> {
    let keyed = rows.iter().filter(|row| !row.source_id.is_empty());
    let cause = |row: &ErasedRow| -> Vec<Value> {
        vec![crate::domain::issue::root_cause(row.kind, &row.source_id, "").into()]
    };
    let causes: Vec<_> = keyed.map(cause).collect();
    for table in ["import_failure", "import_attempt"] {
        let cleared = db.execute_list(&["cause"], causes.clone(), |sql| {
            format!(
                "UPDATE {table} SET root_cause = '' WHERE {}
                 AND root_cause <> '' AND EXISTS (SELECT 1 FROM v
                   WHERE substr({table}.root_cause, 1, length(v.cause)) = v.cause)",
                sql.scope()
            )
        });
        cleared.await?;
    }
    Ok(())
}

/// Removes rows that are stored under the keys of erased records.
async fn remove_keys(
    db: ImportDb<'_, impl ConnectionTrait>,
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
        let removed = db.execute_list(&["kind", "source_id"], list.clone(), |sql| {
            format!(
                "DELETE FROM {table} WHERE {} AND ({columns}) IN (SELECT kind, source_id FROM v)",
                sql.scope()
            )
        });
        removed.await?;
    }
    Ok(())
}

/// Clears the stored fields of erased records. An imported record keeps its verdict; a
/// record that waits to be applied fails; all others are read again in the next round,
/// which finds them erased.
async fn empty_records(
    db: ImportDb<'_, impl ConnectionTrait>,
    rows: &[ErasedRow],
) -> Result<(), DbErr> {
    let read = rows.iter().filter(|row| row.status.is_some());
    let list = read.map(|row| row_id(row.at)).collect();
    let emptied = db.execute_list(&["batch", "row_no"], list, |sql| {
        format!(
            "UPDATE import_record SET source_id = '', digest = {}, size_bytes = 0,
               reference = '', reference_key = NULL, timeline = NULL, active_from = NULL,
               active_to = NULL, ends_on = NULL,
               status = CASE status WHEN 'READY' THEN 'FAILED' ELSE status END
             WHERE {} AND (batch, row_no) IN (SELECT batch, row_no FROM v)",
            sql.bind(Vec::<u8>::new()),
            sql.scope()
        )
    });
    emptied.await
}
