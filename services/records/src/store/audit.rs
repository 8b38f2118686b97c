//! The audit log: one row for each change. Rows are append-only; the purge redacts them.
//!
//! It contains what the timelines do not: the values that a correction overwrote.

use concord_db::{StatementBatch, TenantDb};
use concord_proto::pb::records::{ChangeKind, RecordKind};
use sea_orm::{ConnectionTrait, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use uuid::Uuid;

use super::{
    bulk,
    entities::audit,
    stored::{Stored as _, from_json, to_json},
};
use crate::{
    domain::{
        change::{Authorship, Change},
        record::RecordRef,
    },
    error::RecordError,
};

/// One entry of the audit log.
#[derive(Clone, Debug)]
pub(crate) struct AuditRow {
    pub(crate) change_id: Uuid,
    pub(crate) changed_at: chrono::DateTime<chrono::Utc>,
    pub(crate) product: String,
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) import_id: Option<Uuid>,
    pub(crate) record: RecordRef,
    pub(crate) kind: ChangeKind,
    pub(crate) entry_id: Option<Uuid>,
    pub(crate) changed_fields: Vec<String>,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    pub(crate) request_id: Option<Uuid>,
    pub(crate) reason: String,
}

/// Inserts the audit rows of a transaction's changes.
pub(super) fn insert(
    batch: &mut StatementBatch,
    author: Authorship<'_>,
    changes: &[Change],
) -> Result<(), RecordError> {
    bulk::insert(batch, changes, |_, change| to_row(author, change))
}

/// A page of the audit log before the change `before`, the latest first (keyset
/// pagination): of one record, or of the whole practice.
pub(crate) async fn page(
    db: TenantDb<'_, impl ConnectionTrait>,
    record: Option<Uuid>,
    before: Option<Uuid>,
    limit: u64,
) -> Result<Vec<AuditRow>, RecordError> {
    let mut query = db.select::<audit::Entity>();
    if let Some(record) = record {
        query = query.filter(audit::COLUMN.record_id.eq(record));
    }
    if let Some(before) = before {
        query = query.filter(audit::COLUMN.change_id.lt(before));
    }
    let query = query.order_by_desc(audit::Column::ChangeId).limit(limit);
    query.all(db.connection()).await?.into_iter().map(from_row).collect()
}

/// The audit rows of a record's entries and of its creation, the latest first, at most
/// [`MAX_OF_ENTRIES`].
pub(crate) async fn of_entries(
    db: TenantDb<'_, impl ConnectionTrait>,
    record: Uuid,
) -> Result<Vec<AuditRow>, RecordError> {
    let query = db
        .select::<audit::Entity>()
        .filter(audit::COLUMN.record_id.eq(record))
        .filter(audit::COLUMN.kind.is_in(KINDS_OF_ENTRIES.map(|kind| kind.stored())));
    let query = query.order_by_desc(audit::Column::ChangeId).limit(MAX_OF_ENTRIES);
    query.all(db.connection()).await?.into_iter().map(from_row).collect()
}

/// The kinds of changes that set the dates of entries.
const KINDS_OF_ENTRIES: [ChangeKind; 7] = [
    ChangeKind::Created,
    ChangeKind::EntryAdded,
    ChangeKind::EntryScheduled,
    ChangeKind::EntryDatesChanged,
    ChangeKind::EntryEnded,
    ChangeKind::EntryCancelled,
    ChangeKind::EntryRescinded,
];

/// Maximum number of rows that [`of_entries`] returns.
const MAX_OF_ENTRIES: u64 = 1_000;

/// Removes the personal data from the audit rows of records. The kind, time and author of
/// each change stay.
pub(crate) async fn redact(
    db: TenantDb<'_, impl ConnectionTrait>,
    records: &[Uuid],
) -> Result<(), RecordError> {
    use sea_orm::sea_query::Expr;
    let redact = db
        .update::<audit::Entity>()
        .col_expr(audit::Column::BeforeValues, Expr::value(Option::<String>::None))
        .col_expr(audit::Column::AfterValues, Expr::value(Option::<String>::None))
        .col_expr(audit::Column::Reason, Expr::value(""));
    bulk::update(db, redact, audit::Column::RecordId, records).await
}

fn to_row(author: Authorship<'_>, change: &Change) -> Result<audit::Model, RecordError> {
    let Authorship { caller, now, request_id, reason } = author;
    let json = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    Ok(audit::Model {
        practice_id: caller.practice.to_string(),
        change_id: change.id,
        changed_at: now,
        product: caller.product.to_string(),
        account: caller.account.to_string(),
        user_id: caller.user.clone(),
        import_id: caller.import,
        record_kind: change.record.kind.stored(),
        record_id: change.record.id,
        kind: change.kind.stored(),
        entry_id: change.entry_id,
        changed_fields: to_json(&change.changed_fields)?,
        before_values: json(&change.before),
        after_values: json(&change.after),
        request_id,
        reason: reason.to_owned(),
    })
}

pub(super) fn from_row(row: audit::Model) -> Result<AuditRow, RecordError> {
    Ok(AuditRow {
        change_id: row.change_id,
        changed_at: row.changed_at,
        product: row.product,
        account: row.account,
        user: row.user_id,
        import_id: row.import_id,
        record: RecordRef { kind: RecordKind::read(&row.record_kind)?, id: row.record_id },
        kind: ChangeKind::read(&row.kind)?,
        entry_id: row.entry_id,
        changed_fields: from_json(&row.changed_fields)?,
        before: row.before_values,
        after: row.after_values,
        request_id: row.request_id,
        reason: row.reason,
    })
}
