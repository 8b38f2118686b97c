//! What one page of the worker's work changes, written in one transaction.

use chrono::NaiveDate;
use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{sql, tally};
use crate::domain::{
    finding::Finding,
    import::{ImportKey, RowId},
    tally::Tally,
    words::{Kind, Status},
};

/// All changes of a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edits {
    pub(crate) records: Vec<NewRecord>,
    pub(crate) parents: Vec<NewParent>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) ends: Vec<(RowId, NaiveDate)>,
    /// Records whose failures so far are forgotten.
    pub(crate) cleared: Vec<RowId>,
    pub(crate) failures: Vec<NewFailure>,
    pub(crate) known: Vec<KnownParent>,
    pub(crate) tally: Tally,
}

/// What was found of a record alone.
#[derive(Clone, Debug)]
pub(crate) struct NewRecord {
    pub(crate) at: RowId,
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
    pub(crate) digest: [u8; 32],
    pub(crate) size_bytes: i64,
    pub(crate) status: Status,
    pub(crate) reference: String,
    pub(crate) reference_key: Option<String>,
    pub(crate) timeline: Option<Timeline>,
}

/// The place of an address among those of its owner and type.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    /// Owner and type.
    pub(crate) name: String,
    pub(crate) active_from: Option<NaiveDate>,
    pub(crate) active_to: Option<NaiveDate>,
}

/// A source id by which a record names a parent.
#[derive(Clone, Debug)]
pub(crate) struct NewParent {
    pub(crate) at: RowId,
    pub(crate) ordinal: i64,
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
}

/// A new status of a record.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at: RowId,
    pub(crate) status: Status,
    pub(crate) record_id: Option<String>,
}

/// One more failure of a record; its ordinal is new.
#[derive(Clone, Debug)]
pub(crate) struct NewFailure {
    pub(crate) at: RowId,
    pub(crate) ordinal: i64,
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
    pub(crate) status: Status,
    pub(crate) finding: Finding,
}

/// A parent outside the import.
#[derive(Clone, Debug)]
pub(crate) struct KnownParent {
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
    pub(crate) record_id: String,
    pub(crate) name: String,
    pub(crate) reference: String,
}

/// Writes all of them.
pub(crate) async fn write(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    edits: &Edits,
) -> Result<(), DbErr> {
    let Edits { records, parents, marks, ends, cleared, failures, known, tally } = edits;
    insert_records(db, key, records).await?;
    insert_parents(db, key, parents).await?;
    mark(db, key, marks).await?;
    set_ends(db, key, ends).await?;
    clear_failures(db, key, cleared).await?;
    insert_failures(db, key, failures).await?;
    insert_known(db, key, known).await?;
    tally::add(db, key, tally).await
}

async fn insert_records(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    records: &[NewRecord],
) -> Result<(), DbErr> {
    let columns = [
        "batch",
        "row_no",
        "kind",
        "source_id",
        "digest",
        "size_bytes",
        "status",
        "reference",
        "reference_key",
        "timeline",
        "active_from",
        "active_to",
    ];
    let row = |record: &NewRecord| -> Vec<Value> {
        let timeline = record.timeline.as_ref();
        vec![
            record.at.batch.into(),
            record.at.row.into(),
            record.kind.as_str().into(),
            record.source_id.as_str().into(),
            record.digest.to_vec().into(),
            record.size_bytes.into(),
            record.status.as_str().into(),
            record.reference.as_str().into(),
            record.reference_key.clone().into(),
            timeline.map(|timeline| timeline.name.clone()).into(),
            timeline.and_then(|timeline| timeline.active_from).into(),
            timeline.and_then(|timeline| timeline.active_to).into(),
        ]
    };
    insert(db, key, "import_record", &columns, records.iter().map(row).collect()).await
}

async fn insert_parents(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    parents: &[NewParent],
) -> Result<(), DbErr> {
    let columns = ["batch", "row_no", "ordinal", "kind", "source_id"];
    let row = |parent: &NewParent| -> Vec<Value> {
        let (kind, source_id) = (parent.kind.as_str().into(), parent.source_id.as_str().into());
        vec![parent.at.batch.into(), parent.at.row.into(), parent.ordinal.into(), kind, source_id]
    };
    insert(db, key, "import_parent", &columns, parents.iter().map(row).collect()).await
}

/// The rows are there already: see the module's parent for why this inserts.
async fn mark(db: &impl ConnectionTrait, key: &ImportKey, marks: &[Mark]) -> Result<(), DbErr> {
    let row = |mark: &Mark| -> Vec<Value> {
        let status = mark.status.as_str().into();
        vec![mark.at.batch.into(), mark.at.row.into(), status, mark.record_id.clone().into()]
    };
    let rows = marks.iter().map(row).collect();
    update_records(db, key, &["batch", "row_no", "status", "record_id"], rows).await
}

async fn set_ends(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    ends: &[(RowId, NaiveDate)],
) -> Result<(), DbErr> {
    let row = |(at, day): &(RowId, NaiveDate)| -> Vec<Value> {
        vec![at.batch.into(), at.row.into(), (*day).into()]
    };
    update_records(db, key, &["batch", "row_no", "ends_on"], ends.iter().map(row).collect()).await
}

async fn clear_failures(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    cleared: &[RowId],
) -> Result<(), DbErr> {
    let text = "DELETE FROM import_failure
        WHERE practice_id = $1 AND import_id = $2 AND batch = $3 AND row_no = $4";
    for at in cleared {
        sql::execute(db, text, sql::scoped(key, sql::row_id(*at))).await?;
    }
    Ok(())
}

async fn insert_failures(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    failures: &[NewFailure],
) -> Result<(), DbErr> {
    let columns = [
        "batch",
        "row_no",
        "ordinal",
        "kind",
        "source_id",
        "status",
        "field",
        "reason",
        "reason_text",
        "root_cause",
    ];
    let row = |failure: &NewFailure| -> Vec<Value> {
        let Finding { field, reason, text, root_cause } = &failure.finding;
        vec![
            failure.at.batch.into(),
            failure.at.row.into(),
            failure.ordinal.into(),
            failure.kind.as_str().into(),
            failure.source_id.as_str().into(),
            failure.status.as_str().into(),
            storable(field).into(),
            storable(reason).into(),
            storable(text).into(),
            storable(root_cause).into(),
        ]
    };
    insert(db, key, "import_failure", &columns, failures.iter().map(row).collect()).await
}

async fn insert_known(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    known: &[KnownParent],
) -> Result<(), DbErr> {
    let columns = ["kind", "source_id", "record_id", "name", "reference"];
    let row = |known: &KnownParent| -> Vec<Value> {
        let KnownParent { kind, source_id, record_id, name, reference } = known;
        let texts = [source_id, record_id, name, reference];
        let texts = texts.into_iter().map(|text| storable(text).into());
        std::iter::once(kind.as_str().into()).chain(texts).collect()
    };
    insert(db, key, "import_known", &columns, known.iter().map(row).collect()).await
}

async fn insert(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    table: &str,
    columns: &[&str],
    rows: Vec<Vec<Value>>,
) -> Result<(), DbErr> {
    let names = columns.join(", ");
    let statement = format!(
        "INSERT INTO {table} (practice_id, import_id, {names}) SELECT $1, $2, {names} FROM v"
    );
    sql::execute_with(db, &sql::scope(key), columns, rows, &statement).await
}

/// Sets all columns after the first two, which name the row.
async fn update_records(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    columns: &[&str],
    rows: Vec<Vec<Value>>,
) -> Result<(), DbErr> {
    let names = columns.join(", ");
    let set = columns.iter().skip(2).map(|column| format!("{column} = excluded.{column}"));
    let set = set.collect::<Vec<_>>().join(", ");
    let statement = format!(
        "INSERT INTO import_record (practice_id, import_id, {names})
         SELECT $1, $2, {names} FROM v WHERE true
         ON CONFLICT (practice_id, import_id, batch, row_no) DO UPDATE SET {set}"
    );
    sql::execute_with(db, &sql::scope(key), columns, rows, &statement).await
}

/// Text for people that both databases take, and that has an end.
fn storable(text: &str) -> String {
    const MAX_CHARACTERS: usize = 500;
    text.chars().filter(|c| *c != '\0').take(MAX_CHARACTERS).collect()
}
