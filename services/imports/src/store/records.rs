//! The results of the records of an import.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};

use super::{
    ImportDb,
    import_db::{self, ImportBinds},
};
use crate::{
    domain::{
        batch::MAX_BATCH_RECORDS,
        enums::{Kind, Status},
        import::RowId,
        issue_ordinal::REPLACES_NOTHING,
    },
    error::ImportError,
};

/// The factor of the batch in a row id that is packed into one number: greater than every
/// row number.
const BATCH_FACTOR: i64 = 65_536;
const _: () = assert!(MAX_BATCH_RECORDS < BATCH_FACTOR.unsigned_abs());

/// A record with a key.
#[derive(Clone, Debug)]
pub(crate) struct KeyRow {
    pub(crate) at: RowId,
    pub(crate) source_id: String,
    pub(crate) status: Status,
}

/// A key that several records share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) records: i64,
    pub(crate) identical: bool,
    /// Whether one of them was imported in an earlier round.
    pub(crate) imported_earlier: bool,
}

/// A client with a reference.
#[derive(Clone, Debug)]
pub(crate) struct ReferenceRow {
    pub(crate) at: RowId,
    pub(crate) source_id: String,
    pub(crate) status: Status,
    pub(crate) reference: String,
}

/// An address of a timeline.
#[derive(Clone, Debug)]
pub(crate) struct TimelineRow {
    pub(crate) at: RowId,
    pub(crate) timeline: String,
    pub(crate) source_id: String,
    pub(crate) status: Status,
    pub(crate) active_from: Option<NaiveDate>,
    pub(crate) active_to: Option<NaiveDate>,
}

/// A record that is ready to be applied.
#[derive(Clone, Debug)]
pub(crate) struct ReadyRow {
    pub(crate) at: RowId,
    pub(crate) source_id: String,
    pub(crate) size_bytes: u64,
    pub(crate) active_from: Option<NaiveDate>,
    /// The end of the period, resolved within the timeline.
    pub(crate) ends_on: Option<NaiveDate>,
}

/// A position among the records of a kind, by source id and row, for keyset pagination.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct KeyPosition {
    pub(crate) source_id: String,
    #[serde(flatten)]
    pub(crate) at: RowId,
}

impl KeyPosition {
    /// The position before all records that have a key.
    pub(crate) fn start() -> Self {
        Self { source_id: String::new(), at: RowId { batch: i64::MAX, row: 0 } }
    }
}

/// The condition for records of a kind after a position. The first comparison limits
/// the index range.
fn where_after(sql: &mut ImportBinds<'_>, kind: Kind, after: &KeyPosition) -> String {
    let KeyPosition { source_id, at } = after;
    format!(
        "{} AND kind = {} AND source_id >= {}
         AND (source_id > {} OR batch > {} OR (batch = {} AND row_no > {}))",
        sql.scope(),
        sql.bind(kind.as_str()),
        sql.bind(source_id.as_str()),
        sql.bind(source_id.as_str()),
        sql.bind(at.batch),
        sql.bind(at.batch),
        sql.bind(at.row)
    )
}

/// The condition for records whose key is checked in a round: those that were read in
/// it.
fn where_key_is_checked(sql: &mut ImportBinds<'_>, round: i64) -> String {
    format!("status NOT IN ('SKIPPED', 'REPLACED') AND round = {}", sql.bind(round))
}

/// The records of a kind that have a key and were read in `round`, by key and row.
pub(crate) async fn keys_page(
    db: ImportDb<'_, impl ConnectionTrait>,
    kind: Kind,
    round: i64,
    after: &KeyPosition,
    limit: u64,
) -> Result<Vec<KeyRow>, ImportError> {
    let rows = db.query(|sql| {
        format!(
            "SELECT batch, row_no, source_id, status FROM import_record WHERE {}
             AND {} ORDER BY source_id, batch, row_no LIMIT {limit}",
            where_after(sql, kind, after),
            where_key_is_checked(sql, round)
        )
    });
    let read = |row: QueryResult| {
        let source_id = row.try_get("", "source_id")?;
        Ok(KeyRow { at: row_id(&row)?, source_id, status: status(&row)? })
    };
    rows.await?.into_iter().map(read).collect()
}

/// The keys from `first` to `last` that several records share: records of the round,
/// and records that were imported in an earlier round.
pub(crate) async fn groups(
    db: ImportDb<'_, impl ConnectionTrait>,
    kind: Kind,
    round: i64,
    (first, last): (&str, &str),
) -> Result<HashMap<String, Group>, DbErr> {
    // Counts whole groups: a page may end within a group whose first records were
    // already checked, and perhaps skipped. A replacement that was skipped because it
    // replaces nothing does not count.
    let rows = db.query(|sql| {
        format!(
            "SELECT r.source_id, count(*) AS records, count(DISTINCT r.digest) AS differing,
               max(CASE WHEN r.round = {} THEN 0 ELSE 1 END) AS earlier
             FROM import_record r WHERE {} AND r.kind = {}
             AND r.source_id >= {} AND r.source_id <= {} AND r.status <> 'REPLACED'
             AND (r.round = {} OR r.status IN ('IMPORTED', 'LINKED')
               OR (r.status = 'SKIPPED' AND r.record_id IS NOT NULL))
             AND (r.status <> 'SKIPPED' OR NOT EXISTS (SELECT 1 FROM import_failure f
               WHERE {} AND f.batch = r.batch
               AND f.row_no = r.row_no AND f.ordinal = {REPLACES_NOTHING}))
             GROUP BY r.source_id HAVING count(*) > 1",
            sql.bind_shared("round", round),
            sql.scope_of("r"),
            sql.bind(kind.as_str()),
            sql.bind(first),
            sql.bind(last),
            sql.bind_shared("round", round),
            sql.scope_of("f")
        )
    });
    let read = rows.await?.into_iter().map(|row| {
        let differing: i64 = row.try_get("", "differing")?;
        let earlier: i32 = row.try_get("", "earlier")?;
        let records = row.try_get("", "records")?;
        let group = Group { records, identical: differing <= 1, imported_earlier: earlier > 0 };
        Ok((row.try_get("", "source_id")?, group))
    });
    read.collect()
}

/// The condition for clients whose reference is checked: those of the round, except
/// linked and duplicate ones. The records service checks against clients that were
/// imported in an earlier round.
fn where_reference_is_checked(sql: &mut ImportBinds<'_>, round: i64) -> String {
    // Only clients have a reference. A condition on the kind would offer the planner an
    // index with all clients of the import.
    format!("status NOT IN ('SKIPPED', 'EXCLUDED', 'REPLACED') AND round = {}", sql.bind(round))
}

/// References that several clients share, starting at `from`.
pub(crate) async fn shared_references(
    db: ImportDb<'_, impl ConnectionTrait>,
    round: i64,
    from: &str,
    limit: u64,
) -> Result<Vec<String>, DbErr> {
    let rows = db.query(|sql| {
        format!(
            "SELECT reference_key FROM import_record
             WHERE {} AND reference_key >= {} AND {}
             GROUP BY reference_key HAVING count(DISTINCT source_id) > 1
             ORDER BY reference_key LIMIT {limit}",
            sql.scope(),
            sql.bind(from),
            where_reference_is_checked(sql, round)
        )
    });
    rows.await?.into_iter().map(|row| row.try_get("", "reference_key")).collect()
}

/// The first source ids of the clients with a reference.
pub(crate) async fn source_ids_of_reference(
    db: ImportDb<'_, impl ConnectionTrait>,
    round: i64,
    reference_key: &str,
    limit: usize,
) -> Result<Vec<String>, DbErr> {
    let rows = db.query(|sql| {
        format!(
            "SELECT DISTINCT source_id FROM import_record
             WHERE {} AND reference_key = {} AND {}
             AND source_id <> '' ORDER BY source_id LIMIT {limit}",
            sql.scope(),
            sql.bind(reference_key),
            where_reference_is_checked(sql, round)
        )
    });
    rows.await?.into_iter().map(|row| row.try_get("", "source_id")).collect()
}

/// The clients with a reference, after a row.
pub(crate) async fn clients_of_reference(
    db: ImportDb<'_, impl ConnectionTrait>,
    round: i64,
    (reference_key, after): (&str, RowId),
    limit: usize,
) -> Result<Vec<ReferenceRow>, ImportError> {
    let rows = db.query(|sql| {
        format!(
            "SELECT batch, row_no, source_id, status, reference FROM import_record
             WHERE {} AND reference_key = {} AND {}
             AND (batch, row_no) > {} ORDER BY batch, row_no LIMIT {limit}",
            sql.scope(),
            sql.bind(reference_key),
            where_reference_is_checked(sql, round),
            sql.row_id(after)
        )
    });
    let read = |row: QueryResult| {
        let (source_id, reference) = (row.try_get("", "source_id")?, row.try_get("", "reference")?);
        Ok(ReferenceRow { at: row_id(&row)?, source_id, status: status(&row)?, reference })
    };
    rows.await?.into_iter().map(read).collect()
}

/// The addresses with a timeline, by timeline and row, after a row. Duplicates are
/// excluded.
pub(crate) async fn timelines_page(
    db: ImportDb<'_, impl ConnectionTrait>,
    (timeline, at): (&str, RowId),
    limit: usize,
) -> Result<Vec<TimelineRow>, ImportError> {
    let rows = db.query(|sql| {
        format!(
            "SELECT batch, row_no, timeline, source_id, status, active_from, active_to
             FROM import_record
             WHERE {} AND timeline >= {}
             AND (timeline > {} OR batch > {} OR (batch = {} AND row_no > {}))
             AND (status <> 'SKIPPED' OR record_id IS NOT NULL) AND status <> 'REPLACED'
             ORDER BY timeline, batch, row_no LIMIT {limit}",
            sql.scope(),
            sql.bind(timeline),
            sql.bind(timeline),
            sql.bind(at.batch),
            sql.bind(at.batch),
            sql.bind(at.row)
        )
    });
    let read = |row: QueryResult| {
        Ok(TimelineRow {
            at: row_id(&row)?,
            timeline: row.try_get("", "timeline")?,
            source_id: row.try_get("", "source_id")?,
            status: status(&row)?,
            active_from: row.try_get("", "active_from")?,
            active_to: row.try_get("", "active_to")?,
        })
    };
    rows.await?.into_iter().map(read).collect()
}

/// The records of a kind that are ready to be applied, by key and row.
pub(crate) async fn ready_page(
    db: ImportDb<'_, impl ConnectionTrait>,
    kind: Kind,
    after: &KeyPosition,
    limit: u64,
) -> Result<Vec<ReadyRow>, ImportError> {
    let rows = db.query(|sql| {
        format!(
            "SELECT batch, row_no, source_id, size_bytes, active_from, active_to, ends_on
             FROM import_record WHERE {} AND status = 'READY'
             ORDER BY source_id, batch, row_no LIMIT {limit}",
            where_after(sql, kind, after)
        )
    });
    let read = |row: QueryResult| {
        let ends_on: Option<NaiveDate> = row.try_get("", "ends_on")?;
        let active_to: Option<NaiveDate> = row.try_get("", "active_to")?;
        Ok(ReadyRow {
            at: row_id(&row)?,
            source_id: row.try_get("", "source_id")?,
            size_bytes: row.try_get::<i64>("", "size_bytes")?.unsigned_abs(),
            active_from: row.try_get("", "active_from")?,
            ends_on: ends_on.or(active_to),
        })
    };
    rows.await?.into_iter().map(read).collect()
}

/// A record of any round, with its result so far.
#[derive(Clone, Debug)]
pub(crate) struct RecordRow {
    pub(crate) at: RowId,
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
    pub(crate) status: Status,
    /// The round in which it was last read.
    pub(crate) round: i64,
    /// Whether it had failed when it was last reset.
    pub(crate) retried: bool,
}

/// The columns of a [`RecordRow`].
const RECORD_ROW: [&str; 7] =
    ["batch", "row_no", "kind", "source_id", "status", "round", "retried"];

/// The records after a row that are processed again: those that were not imported, or
/// all.
pub(crate) async fn to_reset(
    db: ImportDb<'_, impl ConnectionTrait>,
    after: RowId,
    all: bool,
    limit: u64,
) -> Result<Vec<RecordRow>, ImportError> {
    let which =
        if all { "status <> 'REPLACED'" } else { "status IN ('FAILED', 'BLOCKED', 'UNPROCESSED')" };
    let rows = db.query(|sql| {
        format!(
            "SELECT {} FROM import_record
             WHERE {} AND (batch, row_no) > {} AND {which}
             ORDER BY batch, row_no LIMIT {limit}",
            RECORD_ROW.join(", "),
            sql.scope(),
            sql.row_id(after)
        )
    });
    rows.await?.iter().map(record_row).collect()
}

/// The records after a row, across batches.
pub(crate) async fn page_after(
    db: ImportDb<'_, impl ConnectionTrait>,
    after: RowId,
    limit: u64,
) -> Result<Vec<RecordRow>, ImportError> {
    let rows = db.query(|sql| {
        format!(
            "SELECT {} FROM import_record
             WHERE {} AND (batch, row_no) > {}
             ORDER BY batch, row_no LIMIT {limit}",
            RECORD_ROW.join(", "),
            sql.scope(),
            sql.row_id(after)
        )
    });
    rows.await?.iter().map(record_row).collect()
}

/// All records with these keys.
pub(crate) async fn by_keys(
    db: ImportDb<'_, impl ConnectionTrait>,
    keys: HashSet<(Kind, String)>,
) -> Result<Vec<RecordRow>, ImportError> {
    let rows = keys.into_iter().map(|(kind, id)| vec![kind.as_str().into(), id.into()]).collect();
    look_up_rows(db, &["kind", "source_id"], "batch", rows).await
}

/// The records with these row ids.
pub(crate) async fn by_row_ids(
    db: ImportDb<'_, impl ConnectionTrait>,
    row_ids: Vec<RowId>,
) -> Result<Vec<RecordRow>, ImportError> {
    let rows = row_ids.into_iter().map(import_db::row_id).collect();
    look_up_rows(db, &["batch", "row_no"], "row_no", rows).await
}

/// The records whose `columns` equal one of `rows`; `next` as for [`ImportBinds::joined`].
async fn look_up_rows(
    db: ImportDb<'_, impl ConnectionTrait>,
    columns: &[&str],
    next: &str,
    rows: Vec<Vec<Value>>,
) -> Result<Vec<RecordRow>, ImportError> {
    let rows = db.query_list(columns, rows, |sql| {
        format!(
            "SELECT {} FROM {}",
            RECORD_ROW.map(|column| format!("r.{column}")).join(", "),
            sql.joined("import_record", columns, next)
        )
    });
    rows.await?.iter().map(record_row).collect()
}

/// Marks the records in a status as unprocessed.
pub(crate) async fn mark_unprocessed(
    db: ImportDb<'_, impl ConnectionTrait>,
    status: Status,
) -> Result<(), DbErr> {
    let marked = db.execute(|sql| {
        format!(
            "UPDATE import_record SET status = 'UNPROCESSED', record_id = NULL
             WHERE {} AND status = {}",
            sql.scope(),
            sql.bind(status.as_str())
        )
    });
    marked.await.map(drop)
}

/// Marks the records that were applied in a round as ready again. Applying is
/// idempotent: the records service returns the same outcome for records that it still
/// has.
pub(crate) async fn mark_for_reapply(
    db: ImportDb<'_, impl ConnectionTrait>,
    round: i64,
) -> Result<u64, DbErr> {
    let marked = db.execute(|sql| {
        format!(
            "UPDATE import_record SET status = 'READY', record_id = NULL
             WHERE {} AND round = {} AND status IN ('IMPORTED', 'LINKED')",
            sql.scope(),
            sql.bind(round)
        )
    });
    marked.await
}

fn record_row(row: &QueryResult) -> Result<RecordRow, ImportError> {
    Ok(RecordRow {
        at: row_id(row)?,
        kind: row.try_get::<String>("", "kind")?.parse()?,
        source_id: row.try_get("", "source_id")?,
        status: status(row)?,
        round: row.try_get("", "round")?,
        retried: row.try_get("", "retried")?,
    })
}

/// The row of the record of each key. Of several records, the one with the lowest
/// digest counts, so that the result is independent of their order.
pub(crate) async fn rows_of_keys(
    db: ImportDb<'_, impl ConnectionTrait>,
    keys: impl IntoIterator<Item = (Kind, String)>,
) -> Result<HashMap<(Kind, String), RowId>, ImportError> {
    let rows = keys.into_iter().map(|(kind, id)| vec![kind.as_str().into(), id.into()]).collect();
    let rows = db.query_list(&["kind", "source_id"], rows, |sql| {
        format!(
            "SELECT kind, source_id,
             (SELECT r.batch * {BATCH_FACTOR} + r.row_no FROM import_record r
               WHERE {}
               AND r.kind = v.kind AND r.source_id = v.source_id AND r.status <> 'REPLACED'
               ORDER BY r.digest, r.batch, r.row_no LIMIT 1) AS packed FROM v",
            sql.scope_of("r")
        )
    });
    let mut rows_by_key = HashMap::new();
    for row in rows.await? {
        let kind = row.try_get::<String>("", "kind")?.parse()?;
        if let Some(packed) = row.try_get::<Option<i64>>("", "packed")? {
            let at = RowId { batch: packed / BATCH_FACTOR, row: packed % BATCH_FACTOR };
            rows_by_key.insert((kind, row.try_get("", "source_id")?), at);
        }
    }
    Ok(rows_by_key)
}

pub(super) fn row_id(row: &QueryResult) -> Result<RowId, DbErr> {
    Ok(RowId { batch: row.try_get("", "batch")?, row: row.try_get("", "row_no")? })
}

pub(super) fn status(row: &QueryResult) -> Result<Status, ImportError> {
    Ok(row.try_get::<String>("", "status")?.parse()?)
}
