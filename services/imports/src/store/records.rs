//! The results of the records of an import.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};

use super::sql;
use crate::{
    domain::{
        enums::{Kind, Status},
        import::{ImportKey, RowId},
    },
    error::ImportError,
};

/// The ordinal of the failure of a replacement that replaces nothing.
pub(crate) const REPLACES_NOTHING: i64 = 1_003;

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
    pub(crate) batch: i64,
    pub(crate) row: i64,
}

impl KeyPosition {
    /// The position before all records that have a key.
    pub(crate) fn start() -> Self {
        Self { source_id: String::new(), batch: i64::MAX, row: 0 }
    }
}

/// The condition for records of a kind after a position. The first comparison limits
/// the index range.
const AFTER: &str = "practice_id = $1 AND import_id = $2 AND kind = $3 AND source_id >= $4
    AND (source_id > $4 OR batch > $5 OR (batch = $5 AND row_no > $6))";

/// The condition for records whose key is checked in a round: those that were read in
/// it.
const JUDGED: &str = "status NOT IN ('SKIPPED', 'REPLACED') AND round =";

/// The records of a kind that have a key and were read in `round`, by key and row.
pub(crate) async fn keys_page(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    kind: Kind,
    round: i64,
    after: &KeyPosition,
    limit: u64,
) -> Result<Vec<KeyRow>, ImportError> {
    let text = format!(
        "SELECT batch, row_no, source_id, status FROM import_record WHERE {AFTER}
         AND {JUDGED} {round} ORDER BY source_id, batch, row_no LIMIT {limit}"
    );
    let rows = sql::query(db, &text, position_values(key, kind, after)).await?;
    let read = |row: QueryResult| {
        let source_id = row.try_get("", "source_id")?;
        Ok(KeyRow { at: row_id(&row)?, source_id, status: status(&row)? })
    };
    rows.into_iter().map(read).collect()
}

/// The keys from `first` to `last` that several records share: records of the round,
/// and records that were imported in an earlier round.
pub(crate) async fn groups(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    kind: Kind,
    round: i64,
    (first, last): (&str, &str),
) -> Result<HashMap<String, Group>, DbErr> {
    // Counts whole groups: a page may end within a group whose first records were
    // already checked, and perhaps skipped. A replacement that was skipped because it
    // replaces nothing does not count.
    let text = format!(
        "SELECT r.source_id, count(*) AS records, count(DISTINCT r.digest) AS differing,
           max(CASE WHEN r.round = {round} THEN 0 ELSE 1 END) AS earlier
         FROM import_record r WHERE r.practice_id = $1 AND r.import_id = $2 AND r.kind = $3
         AND r.source_id >= $4 AND r.source_id <= $5 AND r.status <> 'REPLACED'
         AND (r.round = {round} OR r.status IN ('IMPORTED', 'LINKED')
           OR (r.status = 'SKIPPED' AND r.record_id IS NOT NULL))
         AND (r.status <> 'SKIPPED' OR NOT EXISTS (SELECT 1 FROM import_failure f
           WHERE f.practice_id = $1 AND f.import_id = $2 AND f.batch = r.batch
           AND f.row_no = r.row_no AND f.ordinal = {REPLACES_NOTHING}))
         GROUP BY r.source_id HAVING count(*) > 1"
    );
    let values = sql::key_binds_with(key, [kind.as_str().into(), first.into(), last.into()]);
    let rows = sql::query(db, &text, values).await?;
    let read = rows.into_iter().map(|row| {
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
fn has_valid_reference(round: i64) -> String {
    // Only clients have a reference. A condition on the kind would offer the planner an
    // index with all clients of the import.
    format!("status NOT IN ('SKIPPED', 'EXCLUDED', 'REPLACED') AND round = {round}")
}

/// References that several clients share, starting at `from`.
pub(crate) async fn shared_references(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    round: i64,
    from: &str,
    limit: u64,
) -> Result<Vec<String>, DbErr> {
    let counts = has_valid_reference(round);
    let text = format!(
        "SELECT reference_key FROM import_record
         WHERE practice_id = $1 AND import_id = $2 AND reference_key >= $3 AND {counts}
         GROUP BY reference_key HAVING count(DISTINCT source_id) > 1
         ORDER BY reference_key LIMIT {limit}"
    );
    let rows = sql::query(db, &text, sql::key_binds_with(key, [from.into()])).await?;
    rows.into_iter().map(|row| row.try_get("", "reference_key")).collect()
}

/// The first source ids of the clients with a reference.
pub(crate) async fn users_of_reference(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    round: i64,
    reference_key: &str,
    limit: usize,
) -> Result<Vec<String>, DbErr> {
    let counts = has_valid_reference(round);
    let text = format!(
        "SELECT DISTINCT source_id FROM import_record
         WHERE practice_id = $1 AND import_id = $2 AND reference_key = $3 AND {counts}
         AND source_id <> '' ORDER BY source_id LIMIT {limit}"
    );
    let rows = sql::query(db, &text, sql::key_binds_with(key, [reference_key.into()])).await?;
    rows.into_iter().map(|row| row.try_get("", "source_id")).collect()
}

/// The clients with a reference, after a row.
pub(crate) async fn clients_of_reference(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    round: i64,
    (reference_key, after): (&str, RowId),
    limit: usize,
) -> Result<Vec<ReferenceRow>, ImportError> {
    let counts = has_valid_reference(round);
    let text = format!(
        "SELECT batch, row_no, source_id, status, reference FROM import_record
         WHERE practice_id = $1 AND import_id = $2 AND reference_key = $3 AND {counts}
         AND (batch, row_no) > ($4, $5) ORDER BY batch, row_no LIMIT {limit}"
    );
    let values = [reference_key.into(), after.batch.into(), after.row.into()];
    let rows = sql::query(db, &text, sql::key_binds_with(key, values)).await?;
    let read = |row: QueryResult| {
        let (source_id, reference) = (row.try_get("", "source_id")?, row.try_get("", "reference")?);
        Ok(ReferenceRow { at: row_id(&row)?, source_id, status: status(&row)?, reference })
    };
    rows.into_iter().map(read).collect()
}

/// The addresses with a timeline, by timeline and row, after a row. Duplicates are
/// excluded.
pub(crate) async fn timelines_page(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    after: (&str, RowId),
    limit: usize,
) -> Result<Vec<TimelineRow>, ImportError> {
    let text = format!(
        "SELECT batch, row_no, timeline, source_id, status, active_from, active_to
         FROM import_record
         WHERE practice_id = $1 AND import_id = $2 AND timeline >= $3
         AND (timeline > $3 OR batch > $4 OR (batch = $4 AND row_no > $5))
         AND (status <> 'SKIPPED' OR record_id IS NOT NULL) AND status <> 'REPLACED'
         ORDER BY timeline, batch, row_no LIMIT {limit}"
    );
    let (timeline, at) = after;
    let values = [timeline.into(), at.batch.into(), at.row.into()];
    let rows = sql::query(db, &text, sql::key_binds_with(key, values)).await?;
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
    rows.into_iter().map(read).collect()
}

/// The records of a kind that are ready to be applied, by key and row.
pub(crate) async fn ready_page(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    kind: Kind,
    after: &KeyPosition,
    limit: u64,
) -> Result<Vec<ReadyRow>, ImportError> {
    let text = format!(
        "SELECT batch, row_no, source_id, size_bytes, active_from, active_to, ends_on
         FROM import_record WHERE {AFTER} AND status = 'READY'
         ORDER BY source_id, batch, row_no LIMIT {limit}"
    );
    let rows = sql::query(db, &text, position_values(key, kind, after)).await?;
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
    rows.into_iter().map(read).collect()
}

/// A record of an earlier round.
#[derive(Clone, Debug)]
pub(crate) struct PastRow {
    pub(crate) at: RowId,
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
    pub(crate) status: Status,
    /// The round in which it was last read.
    pub(crate) round: i64,
    /// Whether it had failed when it was last reset.
    pub(crate) retried: bool,
}

/// The columns of a [`PastRow`].
const PAST_ROW: [&str; 7] = ["batch", "row_no", "kind", "source_id", "status", "round", "retried"];

/// The records after a row that are processed again: those that were not imported, or
/// all.
pub(crate) async fn to_reset(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    after: RowId,
    all: bool,
    limit: u64,
) -> Result<Vec<PastRow>, ImportError> {
    let which =
        if all { "status <> 'REPLACED'" } else { "status IN ('FAILED', 'BLOCKED', 'UNPROCESSED')" };
    let text = format!(
        "SELECT {} FROM import_record
         WHERE practice_id = $1 AND import_id = $2 AND (batch, row_no) > ($3, $4) AND {which}
         ORDER BY batch, row_no LIMIT {limit}",
        PAST_ROW.join(", ")
    );
    let values = sql::key_binds_with(key, [after.batch.into(), after.row.into()]);
    sql::query(db, &text, values).await?.iter().map(past_row).collect()
}

/// The records after a row, across batches.
pub(crate) async fn from_batch(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    after: RowId,
    limit: u64,
) -> Result<Vec<PastRow>, ImportError> {
    let text = format!(
        "SELECT {} FROM import_record
         WHERE practice_id = $1 AND import_id = $2 AND (batch, row_no) > ($3, $4)
         ORDER BY batch, row_no LIMIT {limit}",
        PAST_ROW.join(", ")
    );
    let values = sql::key_binds_with(key, [after.batch.into(), after.row.into()]);
    sql::query(db, &text, values).await?.iter().map(past_row).collect()
}

/// All records with these keys.
pub(crate) async fn by_keys(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    keys: HashSet<(Kind, String)>,
) -> Result<Vec<PastRow>, ImportError> {
    let rows = keys.into_iter().map(|(kind, id)| vec![kind.as_str().into(), id.into()]).collect();
    look_up_rows(db, key, &["kind", "source_id"], "batch", rows).await
}

/// The records with these row ids.
pub(crate) async fn by_row_ids(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    row_ids: Vec<RowId>,
) -> Result<Vec<PastRow>, ImportError> {
    let rows = row_ids.into_iter().map(sql::row_id).collect();
    look_up_rows(db, key, &["batch", "row_no"], "row_no", rows).await
}

/// The records whose `columns` equal one of `rows`; `next` as for [`sql::joined`].
async fn look_up_rows(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    columns: &[&str],
    next: &str,
    rows: Vec<Vec<Value>>,
) -> Result<Vec<PastRow>, ImportError> {
    let statement = format!(
        "SELECT {} FROM {}",
        PAST_ROW.map(|column| format!("r.{column}")).join(", "),
        sql::joined(db.get_database_backend(), "import_record", columns, next)
    );
    let rows = sql::query_with(db, &sql::key_binds(key), columns, rows, &statement).await?;
    rows.iter().map(past_row).collect()
}

/// Marks the records in a status as unprocessed.
pub(crate) async fn mark_unprocessed(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    status: Status,
) -> Result<(), DbErr> {
    let text = "UPDATE import_record SET status = 'UNPROCESSED', record_id = NULL
        WHERE practice_id = $1 AND import_id = $2 AND status = $3";
    sql::execute(db, text, sql::key_binds_with(key, [status.as_str().into()])).await.map(drop)
}

/// Marks the records that were applied in a round as ready again. Applying is
/// idempotent: the records service returns the same outcome for records that it still
/// has.
pub(crate) async fn mark_for_reapply(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    round: i64,
) -> Result<u64, DbErr> {
    let text = "UPDATE import_record SET status = 'READY', record_id = NULL
        WHERE practice_id = $1 AND import_id = $2 AND round = $3
          AND status IN ('IMPORTED', 'LINKED')";
    sql::execute(db, text, sql::key_binds_with(key, [round.into()])).await
}

fn past_row(row: &QueryResult) -> Result<PastRow, ImportError> {
    Ok(PastRow {
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
    db: &impl ConnectionTrait,
    key: &ImportKey,
    keys: impl IntoIterator<Item = (Kind, String)>,
) -> Result<HashMap<(Kind, String), RowId>, ImportError> {
    // A row number is below 65,536; see the limit on the records of a batch.
    let statement = "SELECT kind, source_id,
        (SELECT r.batch * 65536 + r.row_no FROM import_record r
          WHERE r.practice_id = $1 AND r.import_id = $2
          AND r.kind = v.kind AND r.source_id = v.source_id AND r.status <> 'REPLACED'
          ORDER BY r.digest, r.batch, r.row_no LIMIT 1) AS packed FROM v";
    let rows = keys.into_iter().map(|(kind, id)| vec![kind.as_str().into(), id.into()]).collect();
    let rows =
        sql::query_with(db, &sql::key_binds(key), &["kind", "source_id"], rows, statement).await?;
    let mut rows_by_key = HashMap::new();
    for row in rows {
        let kind = row.try_get::<String>("", "kind")?.parse()?;
        if let Some(packed) = row.try_get::<Option<i64>>("", "packed")? {
            let at = RowId { batch: packed >> 16, row: packed & 0xffff };
            rows_by_key.insert((kind, row.try_get("", "source_id")?), at);
        }
    }
    Ok(rows_by_key)
}

fn position_values(key: &ImportKey, kind: Kind, after: &KeyPosition) -> Vec<sea_orm::Value> {
    let KeyPosition { source_id, batch, row } = after;
    let values = [kind.as_str().into(), source_id.as_str().into(), (*batch).into(), (*row).into()];
    sql::key_binds_with(key, values)
}

pub(super) fn row_id(row: &QueryResult) -> Result<RowId, DbErr> {
    Ok(RowId { batch: row.try_get("", "batch")?, row: row.try_get("", "row_no")? })
}

pub(super) fn status(row: &QueryResult) -> Result<Status, ImportError> {
    Ok(row.try_get::<String>("", "status")?.parse()?)
}
