//! What one page of the worker's work changes, written in one transaction.

use chrono::NaiveDate;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Value};
use shared::rules::{Violation, Violations};

use super::{duplicates, likenesses, sql, tally};
use crate::domain::{
    duplicate::DuplicateRow,
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
    /// Records that are processed again, and whether they had failed: their
    /// failures become attempts of the round before this one.
    pub(crate) reset: Option<Reset>,
    /// Records that no longer ask for their parents.
    pub(crate) childless: Vec<RowId>,
    /// Whether the records may be there already, from an earlier round.
    pub(crate) again: bool,
    pub(crate) failures: Vec<NewFailure>,
    pub(crate) known: Vec<KnownParent>,
    /// Of records that had none.
    pub(crate) duplicates: Vec<DuplicateRow>,
    /// Of a dry run: those that no record had before.
    pub(crate) likenesses: Vec<likenesses::NewLikeness>,
    pub(crate) tally: Tally,
}

/// Records that are processed again in a round.
#[derive(Clone, Debug)]
pub(crate) struct Reset {
    /// The round that begins.
    pub(crate) round: i64,
    /// Each with whether it had failed.
    pub(crate) rows: Vec<(RowId, bool)>,
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
    pub(crate) round: i64,
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

/// The failure of a replacement that replaces nothing, among those of its record.
pub(crate) const REPLACES_NOTHING: i64 = 1_003;

/// The first of the warnings of a record, after all its errors.
pub(super) const WARNING: i64 = 3_000;

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

impl NewFailure {
    /// What is listed of a record that was erased.
    pub(crate) fn erased(at: RowId, kind: Kind, status: Status) -> Self {
        let (source_id, finding) = (String::new(), Finding::erased());
        Self { at, ordinal: 0, kind, source_id, status, finding }
    }

    /// The warnings of a record that has ended with `status`.
    pub(crate) fn warnings(
        warnings: Violations,
        at: RowId,
        (kind, source_id): (Kind, &str),
        status: Status,
    ) -> impl Iterator<Item = Self> {
        let warning = move |(ordinal, violation): (i64, Violation)| Self {
            at,
            ordinal,
            kind,
            source_id: source_id.to_owned(),
            status,
            finding: Finding::warning(violation),
        };
        (WARNING..).zip(warnings).map(warning)
    }
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
    let Edits {
        records,
        parents,
        marks,
        ends,
        cleared,
        reset,
        childless,
        again,
        failures,
        known,
        duplicates: new_duplicates,
        likenesses: new_likenesses,
        tally,
    } = edits;
    if let Some(reset) = reset {
        reset_records(db, key, reset).await?;
    }
    insert_records(db, key, records, *again).await?;
    remove_of(db, key, "import_parent", childless.iter().copied()).await?;
    insert_parents(db, key, parents).await?;
    mark(db, key, marks).await?;
    set_ends(db, key, ends).await?;
    remove_of(db, key, "import_failure", cleared.iter().copied()).await?;
    insert_failures(db, key, failures).await?;
    insert_known(db, key, known).await?;
    duplicates::add(db, key, new_duplicates).await?;
    likenesses::insert(db, key, new_likenesses).await?;
    tally::add(db, key, tally).await
}

/// Puts records back to where they were before they were read.
async fn reset_records(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    reset: &Reset,
) -> Result<(), DbErr> {
    let rows = || reset.rows.iter().map(|(at, _)| sql::row_id(*at)).collect();
    let kept = "ordinal, kind, source_id, status, field, reason, reason_text, root_cause, severity";
    let statement = format!(
        "INSERT INTO import_attempt (practice_id, import_id, round, batch, row_no, {kept})
         SELECT $1, $2, $3, r.batch, r.row_no, {} FROM {}",
        kept.split(", ").map(|column| format!("r.{column}")).collect::<Vec<_>>().join(", "),
        sql::joined(db.get_database_backend(), "import_failure", &["batch", "row_no"], "ordinal")
    );
    let scope = sql::scoped(key, [(reset.round - 1).into()]);
    sql::execute_with(db, &scope, &["batch", "row_no"], rows(), &statement).await?;
    for table in ["import_failure", "import_parent"] {
        remove_of(db, key, table, reset.rows.iter().map(|(at, _)| *at)).await?;
    }
    duplicates::remove(db, key, reset.rows.iter().map(|(at, _)| *at)).await?;
    let staged = |(at, failed): &(RowId, bool)| -> Vec<Value> {
        vec![at.batch.into(), at.row.into(), Status::Staged.as_str().into(), (*failed).into()]
    };
    let columns = ["batch", "row_no", "status", "retried"];
    update_records(db, key, &columns, reset.rows.iter().map(staged).collect()).await
}

/// Removes what a table has of some records.
pub(super) async fn remove_of(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    table: &str,
    rows: impl Iterator<Item = RowId>,
) -> Result<(), DbErr> {
    let (engine, keys) = (db.get_database_backend(), ["batch", "row_no"]);
    let next = if table == "import_duplicate" { "field" } else { "ordinal" };
    let statement = match engine {
        DbBackend::Postgres => format!(
            "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT r.ctid FROM {}))",
            sql::joined(engine, table, &keys, next)
        ),
        _ => format!(
            "DELETE FROM {table} WHERE practice_id = $1 AND import_id = $2
             AND (batch, row_no) IN (SELECT batch, row_no FROM v)"
        ),
    };
    let rows = rows.map(sql::row_id).collect();
    sql::execute_with(db, &sql::scope(key), &["batch", "row_no"], rows, &statement).await
}

async fn insert_records(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    records: &[NewRecord],
    again: bool,
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
        "round",
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
            record.round.into(),
        ]
    };
    let rows = records.iter().map(row).collect();
    if !again {
        return insert(db, key, "import_record", &columns, rows).await;
    }
    let names = columns.join(", ");
    let set = columns.iter().skip(2).map(|column| format!("{column} = excluded.{column}"));
    let set = set.collect::<Vec<_>>().join(", ");
    let statement = format!(
        "INSERT INTO import_record (practice_id, import_id, {names})
         SELECT $1, $2, {names} FROM v WHERE true
         ON CONFLICT (practice_id, import_id, batch, row_no)
         DO UPDATE SET {set}, ends_on = NULL, record_id = NULL"
    );
    sql::execute_with(db, &sql::scope(key), &columns, rows, &statement).await
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

pub(super) async fn insert_failures(
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
        "severity",
    ];
    let row = |failure: &NewFailure| -> Vec<Value> {
        let Finding { field, reason, text, root_cause, severity } = &failure.finding;
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
            severity.as_str().into(),
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

pub(super) async fn insert(
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
pub(super) fn storable(text: &str) -> String {
    const MAX_CHARACTERS: usize = 500;
    text.chars().filter(|c| *c != '\0').take(MAX_CHARACTERS).collect()
}
