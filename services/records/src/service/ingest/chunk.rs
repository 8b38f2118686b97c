//! A chunk of an import while it is applied: its records, what is known of their keys, and
//! their outcomes.

use std::collections::{HashMap, HashSet};

use concord_core::{
    caller::Caller,
    key_digest::KeyDigest,
    rules::{
        FieldViolation, FieldViolations, date,
        import::{ImportDraft, parse_bytes},
        reason_code,
    },
};
use concord_db::TenantDb;
use concord_proto::{
    pb::{
        imports::{ImportRecordKind, RecordStatus},
        internal::{ApplyOutcome, ApplyParent, ApplyViolation},
        records::ErrorReason,
    },
    wire::ApplyRecord,
};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::{
    domain::link::{ImportOutcome, Link, LinkKind},
    error::RecordError,
    service::{new_records::NewRecords, unit_of_work::RequestTime},
    store::links,
};

/// One record of a chunk, parsed.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) kind: ImportRecordKind,
    pub(super) source_id: String,
    pub(super) draft: Result<ImportDraft, FieldViolations>,
    pub(super) parents: Vec<ApplyParent>,
    pub(super) active_from: String,
    pub(super) active_to: String,
}

/// Parses a record, without an error: an invalid one fails when the chunk is applied.
pub(super) fn parse(record: &ApplyRecord) -> Incoming {
    let parsed = parse_bytes(&record.record);
    Incoming {
        kind: parsed.kind,
        source_id: parsed.source_id,
        draft: parsed.outcome,
        parents: record.parents.clone(),
        active_from: record.active_from.clone(),
        active_to: record.active_to.clone(),
    }
}

/// A chunk while it is applied: the outcomes of its records, and the records to insert.
pub(super) struct Chunk<'a> {
    pub(super) caller: &'a Caller,
    pub(super) at: RequestTime,
    pub(super) link_kind: LinkKind,
    /// Links of the account that existed before the chunk, by source id; see
    /// [`Chunk::look_up`].
    pub(super) known: HashMap<String, Link>,
    /// Keys that were erased after they were uploaded.
    pub(super) erased: HashSet<KeyDigest>,
    /// Source ids that were processed in the chunk.
    pub(super) seen: HashSet<String>,
    pub(super) new: NewRecords,
    pub(super) outcomes: Vec<ApplyOutcome>,
    /// True for a dry run. A missing parent is then one that an earlier chunk would have
    /// created.
    pub(super) validate_only: bool,
}

/// The digest under which the erasure of a key is recorded.
pub(super) fn key_digest(caller: &Caller, kind: LinkKind, source_id: &str) -> KeyDigest {
    let Caller { practice, product, account, .. } = caller;
    KeyDigest::of(practice, (product.as_str(), account.as_str()), kind.imported(), source_id)
}

impl Chunk<'_> {
    /// Reads the existing links of the chunk. Must run after the records that the chunk may
    /// change are locked and read: the same chunk, sent by another worker, may be running
    /// concurrently. The links that it committed are then recognised as links of this
    /// import.
    pub(super) async fn look_up(
        &mut self,
        db: TenantDb<'_, impl ConnectionTrait>,
        incoming: &[Incoming],
    ) -> Result<(), RecordError> {
        let ids: Vec<String> = incoming.iter().map(|record| record.source_id.clone()).collect();
        let account = (&self.caller.product, &self.caller.account);
        let known = links::by_external_ids(db, account, self.link_kind, &ids).await?;
        self.known = known.into_iter().map(|link| (link.external_id.clone(), link)).collect();
        Ok(())
    }

    /// The draft of a record that has to be applied. Otherwise its outcome: it is linked
    /// already, it was erased, it is invalid, or its source id occurs twice in the chunk.
    pub(super) fn admit<'r>(
        &mut self,
        record: &'r Incoming,
    ) -> Result<&'r ImportDraft, ApplyOutcome> {
        if let Some(link) = self.known.get(&record.source_id) {
            return Err(self.known_outcome(link));
        }
        if !self.erased.is_empty()
            && self.erased.contains(&key_digest(self.caller, self.link_kind, &record.source_id))
        {
            let text = "Record was erased after it was uploaded";
            return Err(failed(vec![FieldViolation::new("", ErrorReason::RecordErased, text)]));
        }
        let draft = record.draft.as_ref().map_err(|_| failed_invalid(record))?;
        if self.seen.insert(record.source_id.clone()) {
            Ok(draft)
        } else {
            let text = "Source id is used twice";
            Err(failed(vec![FieldViolation::new("source_id", ErrorReason::DuplicateKey, text)]))
        }
    }

    /// The stored outcome if this import created the link; otherwise skipped.
    fn known_outcome(&self, link: &Link) -> ApplyOutcome {
        let status = match link.import {
            Some((import, ImportOutcome::Imported)) if Some(import) == self.caller.import => {
                RecordStatus::Imported
            }
            Some((import, ImportOutcome::Linked)) if Some(import) == self.caller.import => {
                RecordStatus::Linked
            }
            _ => RecordStatus::Skipped,
        };
        outcome(status, self.link_kind, link.record_id)
    }

    /// Links a record under the source id. Returns the outcome.
    pub(super) fn link(
        &mut self,
        record: &Incoming,
        record_id: Uuid,
        outcome: ImportOutcome,
    ) -> ApplyOutcome {
        self.new.links.push(Link {
            product: self.caller.product.clone(),
            account: self.caller.account.clone(),
            kind: self.link_kind,
            external_id: record.source_id.clone(),
            record_id,
            import: self.caller.import.map(|import| (import, outcome)),
            linked_at: self.at.now,
            linked_by: self.caller.user.clone(),
        });
        let status = match outcome {
            ImportOutcome::Imported => RecordStatus::Imported,
            ImportOutcome::Linked => RecordStatus::Linked,
        };
        self::outcome(status, self.link_kind, record_id)
    }
}

/// The kind of link that a kind of imported record creates.
pub(super) fn link_kind(kind: ImportRecordKind) -> LinkKind {
    match kind {
        ImportRecordKind::Contact => LinkKind::Person,
        ImportRecordKind::Address => LinkKind::Entry,
        ImportRecordKind::Client | ImportRecordKind::Unspecified => LinkKind::Client,
    }
}

/// The id of a linked record as text.
pub(super) fn record_text(kind: LinkKind, id: Uuid) -> String {
    use concord_core::ids::{IdKind, text};
    match kind {
        LinkKind::Client => text(IdKind::Client, id),
        LinkKind::Person => text(IdKind::Person, id),
        LinkKind::Entry => text(IdKind::Entry, id),
    }
}

pub(super) fn outcome(status: RecordStatus, kind: LinkKind, id: Uuid) -> ApplyOutcome {
    ApplyOutcome {
        status: status.into(),
        record_id: record_text(kind, id),
        ..ApplyOutcome::default()
    }
}

/// The outcome of a failed record, with its violations.
pub(super) fn failed(violations: Vec<FieldViolation>) -> ApplyOutcome {
    let violation = |violation: FieldViolation| ApplyViolation {
        field: violation.field,
        reason: reason_code(violation.reason).to_owned(),
        text: violation.text,
    };
    ApplyOutcome {
        status: RecordStatus::Failed.into(),
        violations: violations.into_iter().map(violation).collect(),
        ..ApplyOutcome::default()
    }
}

/// The outcome of a record with invalid fields.
pub(super) fn failed_invalid(record: &Incoming) -> ApplyOutcome {
    match &record.draft {
        Err(violations) => failed(violations.clone().into_vec()),
        Ok(_) => failed(vec![FieldViolation::new(
            "",
            ErrorReason::UnreadableRecord,
            "Record could not be read",
        )]),
    }
}

/// The outcome of a record whose parent does not exist any more.
pub(super) fn parent_gone(field: &str, source_id: &str) -> ApplyOutcome {
    let text = format!("Parent record was not found: {source_id}");
    failed(vec![FieldViolation::new(field, ErrorReason::ParentNotFound, text)])
}

/// The period of an address, as computed by the import.
pub(super) fn period_of(record: &Incoming) -> Option<date::Period> {
    let from = date::parse_date(&record.active_from).ok()?;
    let to = date::parse_date(&record.active_to).ok()?;
    let period = date::Period::new(from, to);
    period.is_valid().then_some(period)
}
