//! The changes of one page of the worker, written in one transaction.

use chrono::NaiveDate;
use concord_core::rules::{FieldViolation, FieldViolations};
use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{ImportDb, counters, duplicates, import_db::row_id, match_keys, storable};
use crate::domain::{
    counters::Counters,
    duplicate::DuplicateRow,
    enums::{Kind, Status},
    import::RowId,
    issue::RecordIssue,
    issue_ordinal,
};

/// All changes of a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edits {
    pub(crate) records: Vec<NewRecord>,
    pub(crate) parents: Vec<NewParent>,
    pub(crate) status_updates: Vec<StatusUpdate>,
    pub(crate) period_ends: Vec<(RowId, NaiveDate)>,
    /// Records whose failures are removed.
    pub(crate) cleared_failures: Vec<RowId>,
    /// Records that are processed again. Their failures become attempts of the previous
    /// round.
    pub(crate) reset: Option<Reset>,
    /// Records whose references to parents are removed.
    pub(crate) cleared_parents: Vec<RowId>,
    /// Whether to upsert the records: rows of an earlier round may exist.
    pub(crate) upsert: bool,
    pub(crate) failures: Vec<NewFailure>,
    pub(crate) external_parents: Vec<ExternalParent>,
    /// Only of records that had none.
    pub(crate) duplicates: Vec<DuplicateRow>,
    /// Of a dry run: match keys that no earlier record had.
    pub(crate) match_keys: Vec<match_keys::NewMatchKey>,
    pub(crate) counters: Counters,
}

impl Edits {
    /// Gives a record another status, with the record id that it has then.
    pub(crate) fn update_status(
        &mut self,
        at: RowId,
        kind: Kind,
        (from, to): (Status, Status),
        record_id: Option<String>,
    ) {
        self.counters.shift(kind, from, to);
        self.status_updates.push(StatusUpdate { at, status: to, record_id });
    }
}

/// Records that are processed again in a round.
#[derive(Clone, Debug)]
pub(crate) struct Reset {
    /// The round that starts.
    pub(crate) round: i64,
    /// The records, each with whether it had failed.
    pub(crate) rows: Vec<(RowId, bool)>,
}

/// The result of a record by itself.
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

/// The timeline that an address belongs to, and its dates.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    /// Owner and type.
    pub(crate) name: String,
    pub(crate) active_from: Option<NaiveDate>,
    pub(crate) active_to: Option<NaiveDate>,
}

/// A reference of a record to a parent, by source id.
#[derive(Clone, Debug)]
pub(crate) struct NewParent {
    pub(crate) at: RowId,
    pub(crate) ordinal: i64,
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
}

/// The new status of a record.
#[derive(Clone, Debug)]
pub(crate) struct StatusUpdate {
    pub(crate) at: RowId,
    pub(crate) status: Status,
    pub(crate) record_id: Option<String>,
}

/// A new failure of a record.
#[derive(Clone, Debug)]
pub(crate) struct NewFailure {
    pub(crate) at: RowId,
    pub(crate) ordinal: i64,
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
    pub(crate) status: Status,
    pub(crate) issue: RecordIssue,
}

impl NewFailure {
    /// The failure that is listed for an erased record.
    pub(crate) fn erased(at: RowId, kind: Kind, status: Status) -> Self {
        let (source_id, issue) = (String::new(), RecordIssue::erased());
        Self { at, ordinal: issue_ordinal::FIRST_OWN, kind, source_id, status, issue }
    }

    /// The warnings of a record that has ended with `status`.
    pub(crate) fn warnings(
        warnings: FieldViolations,
        at: RowId,
        (kind, source_id): (Kind, &str),
        status: Status,
    ) -> impl Iterator<Item = Self> {
        let warning = move |(ordinal, violation): (i64, FieldViolation)| Self {
            at,
            ordinal,
            kind,
            source_id: source_id.to_owned(),
            status,
            issue: RecordIssue::warning(violation),
        };
        (issue_ordinal::FIRST_WARNING..).zip(warnings).map(warning)
    }
}

/// A parent that is not in the import.
#[derive(Clone, Debug)]
pub(crate) struct ExternalParent {
    pub(crate) kind: Kind,
    pub(crate) source_id: String,
    pub(crate) record_id: String,
    pub(crate) name: String,
    pub(crate) reference: String,
}

/// Writes the changes of a page.
pub(crate) async fn write(
    db: ImportDb<'_, impl ConnectionTrait>,
    edits: &Edits,
) -> Result<(), DbErr> {
    let Edits {
        records,
        parents,
        status_updates,
        period_ends,
        cleared_failures,
        reset,
        cleared_parents,
        upsert,
        failures,
        external_parents,
        duplicates: new_duplicates,
        match_keys: new_match_keys,
        counters,
    } = edits;
    if let Some(reset) = reset {
        reset_records(db, reset).await?;
    }
    insert_records(db, records, *upsert).await?;
    db.remove_by_row_ids("import_parent", cleared_parents.iter().copied()).await?;
    insert_parents(db, parents).await?;
    update_statuses(db, status_updates).await?;
    set_period_ends(db, period_ends).await?;
    db.remove_by_row_ids("import_failure", cleared_failures.iter().copied()).await?;
    insert_failures(db, failures).await?;
    insert_external_parents(db, external_parents).await?;
    duplicates::add(db, new_duplicates).await?;
    match_keys::insert(db, new_match_keys).await?;
    counters::add(db, counters).await
}

/// Resets records to the state before they were read.
async fn reset_records(db: ImportDb<'_, impl ConnectionTrait>, reset: &Reset) -> Result<(), DbErr> {
    let kept = "ordinal, kind, source_id, status, field, reason, reason_text, root_cause, severity";
    let of_failure = kept.split(", ").map(|column| format!("r.{column}"));
    let of_failure = of_failure.collect::<Vec<_>>().join(", ");
    let keys = ["batch", "row_no"];
    let rows = reset.rows.iter().map(|(at, _)| row_id(*at)).collect();
    let attempts = db.execute_list(&keys, rows, |sql| {
        format!(
            "INSERT INTO import_attempt (practice_id, import_id, round, batch, row_no, {kept})
             SELECT {}, {}, {}, r.batch, r.row_no, {of_failure} FROM {}",
            sql.practice(),
            sql.import(),
            sql.bind(reset.round - 1),
            sql.joined("import_failure", &keys, "ordinal")
        )
    });
    attempts.await?;
    for table in ["import_failure", "import_parent"] {
        db.remove_by_row_ids(table, reset.rows.iter().map(|(at, _)| *at)).await?;
    }
    duplicates::remove(db, reset.rows.iter().map(|(at, _)| *at)).await?;
    let staged = |(at, failed): &(RowId, bool)| -> Vec<Value> {
        vec![at.batch.into(), at.row.into(), Status::Staged.as_str().into(), (*failed).into()]
    };
    let columns = ["batch", "row_no", "status", "retried"];
    update_records(db, &columns, reset.rows.iter().map(staged).collect()).await
}

async fn insert_records(
    db: ImportDb<'_, impl ConnectionTrait>,
    records: &[NewRecord],
    upsert: bool,
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
    if !upsert {
        return db.insert("import_record", &columns, rows).await;
    }
    let on_conflict = format!("{}, ends_on = NULL, record_id = NULL", set_excluded(&columns));
    db.upsert("import_record", &columns, rows, &on_conflict).await
}

async fn insert_parents(
    db: ImportDb<'_, impl ConnectionTrait>,
    parents: &[NewParent],
) -> Result<(), DbErr> {
    let columns = ["batch", "row_no", "ordinal", "kind", "source_id"];
    let row = |parent: &NewParent| -> Vec<Value> {
        let (kind, source_id) = (parent.kind.as_str().into(), parent.source_id.as_str().into());
        vec![parent.at.batch.into(), parent.at.row.into(), parent.ordinal.into(), kind, source_id]
    };
    db.insert("import_parent", &columns, parents.iter().map(row).collect()).await
}

/// Updates the status of existing rows by upsert; the documentation of [`store`](super)
/// explains why.
async fn update_statuses(
    db: ImportDb<'_, impl ConnectionTrait>,
    status_updates: &[StatusUpdate],
) -> Result<(), DbErr> {
    let row = |update: &StatusUpdate| -> Vec<Value> {
        let status = update.status.as_str().into();
        vec![update.at.batch.into(), update.at.row.into(), status, update.record_id.clone().into()]
    };
    let rows = status_updates.iter().map(row).collect();
    update_records(db, &["batch", "row_no", "status", "record_id"], rows).await
}

async fn set_period_ends(
    db: ImportDb<'_, impl ConnectionTrait>,
    period_ends: &[(RowId, NaiveDate)],
) -> Result<(), DbErr> {
    let row = |(at, day): &(RowId, NaiveDate)| -> Vec<Value> {
        vec![at.batch.into(), at.row.into(), (*day).into()]
    };
    update_records(db, &["batch", "row_no", "ends_on"], period_ends.iter().map(row).collect()).await
}

pub(super) async fn insert_failures(
    db: ImportDb<'_, impl ConnectionTrait>,
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
        let RecordIssue { field, reason, text, root_cause, severity } = &failure.issue;
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
    db.insert("import_failure", &columns, failures.iter().map(row).collect()).await
}

async fn insert_external_parents(
    db: ImportDb<'_, impl ConnectionTrait>,
    parents: &[ExternalParent],
) -> Result<(), DbErr> {
    let columns = ["kind", "source_id", "record_id", "name", "reference"];
    let row = |parent: &ExternalParent| -> Vec<Value> {
        let ExternalParent { kind, source_id, record_id, name, reference } = parent;
        let texts = [source_id, record_id, name, reference];
        let texts = texts.into_iter().map(|text| storable(text).into());
        std::iter::once(kind.as_str().into()).chain(texts).collect()
    };
    db.insert("import_known", &columns, parents.iter().map(row).collect()).await
}

/// Updates rows by upsert. The first two columns are the key of the row; all others are
/// set.
async fn update_records(
    db: ImportDb<'_, impl ConnectionTrait>,
    columns: &[&str],
    rows: Vec<Vec<Value>>,
) -> Result<(), DbErr> {
    db.upsert("import_record", columns, rows, &set_excluded(columns)).await
}

/// The ON CONFLICT clause of an upsert of records. The first two columns are the key of the
/// row; all others are set.
fn set_excluded(columns: &[&str]) -> String {
    let set = columns.iter().skip(2).map(|column| format!("{column} = excluded.{column}"));
    let set = set.collect::<Vec<_>>().join(", ");
    format!("ON CONFLICT (practice_id, import_id, batch, row_no) DO UPDATE SET {set}")
}
