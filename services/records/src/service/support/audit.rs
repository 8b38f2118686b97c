//! The audit of the changes of one record, or of a practice.

use concord_core::{
    access::Role,
    caller::Caller,
    ids::{self, IdKind},
    page::{self, ResponseBudget},
};
use concord_proto::pb::records::{AuditEntry, Origin, RecordKind};
use prost::Message as _;

use crate::{
    domain::record::id_kind,
    error::RecordError,
    image::timestamp,
    service::{Records, open, reading::PageRequest, resolve},
    store::audit::{self, AuditRow},
};

impl Records {
    /// A page of the audit, the latest first.
    pub(crate) async fn audit(
        &self,
        caller: &Caller,
        name: &str,
        request: PageRequest,
    ) -> Result<(Vec<AuditEntry>, String), RecordError> {
        self.check_connected(caller).await?;
        let db = self.db.reader_of(&caller.practice);
        let record = match name {
            "" => None,
            name if name.starts_with(id_kind(RecordKind::Contact).prefix()) => {
                Some(open::parse_contact(name)?)
            }
            name => Some(resolve::client_or_person(db, "record", name).await?.id),
        };
        let key = ("audit", caller.practice.as_str(), record);
        let before = page::begin_after(&request.token, &key)?;
        let mut rows = audit::page(db, record, before, request.size + 1).await?;
        let size = usize::try_from(request.size).unwrap_or(usize::MAX);
        let read = rows.len();
        rows.truncate(size);
        let (mut budget, mut entries, mut last) = (ResponseBudget::default(), Vec::new(), None);
        for row in rows {
            let change = row.change_id;
            let entry = audit_entry(caller, row);
            if !budget.try_take(entry.encoded_len()) {
                break;
            }
            entries.push(entry);
            last = Some(change);
        }
        let next = last.filter(|_| entries.len() < read).map(|last| page::token(&key, &last));
        Ok((entries, next.unwrap_or_default()))
    }
}

/// An entry of the audit as a message. Only auditors get the values before and after.
pub(super) fn audit_entry(caller: &Caller, row: AuditRow) -> AuditEntry {
    let is_auditor = caller.roles.contains(&Role::Auditor);
    let values = |values: Option<String>| values.filter(|_| is_auditor).unwrap_or_default();
    AuditEntry {
        change_id: ids::text(IdKind::Change, row.change_id),
        time: Some(timestamp(row.changed_at)),
        origin: Some(Origin {
            product: row.product,
            account: row.account,
            user: row.user,
            import_id: row.import_id.map(|id| ids::text(IdKind::Import, id)).unwrap_or_default(),
        }),
        record_kind: row.record.kind.into(),
        record_id: row.record.text(),
        kind: row.kind.into(),
        entry_id: row.entry_id.map(|id| ids::text(IdKind::Entry, id)).unwrap_or_default(),
        changed_fields: row.changed_fields,
        before: values(row.before),
        after: values(row.after),
        request_id: row.request_id.map(|id| id.to_string()).unwrap_or_default(),
        reason: row.reason,
    }
}
