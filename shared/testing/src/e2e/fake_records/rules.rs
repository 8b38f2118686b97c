//! The rules by which the fake links and creates records.

use std::collections::HashSet;

use concord_core::{
    ids::{self, IdKind},
    key_digest::KeyDigest,
    rules::{
        FieldViolation,
        import::{ImportDraft, ParsedRecord, parse_bytes},
        reason_code,
        text::match_key,
    },
    status::ApiError,
};
use concord_proto::{
    pb::{
        imports::{ImportRecordKind, RecordStatus},
        internal::{
            ApplyChunkResponse, ApplyOutcome, ApplyParent, ApplyViolation, erasure::Erased,
        },
        records::ErrorReason,
    },
    wire::ApplyRecord,
};
use tonic::{Code, Status};

use super::{
    Call, InjectedFault, Records,
    store::{Link, link_key},
};

impl Records {
    /// Rejects a stale fence. Returns false if the caller knows a higher fence that was
    /// lost, so that nothing is applied.
    pub(super) fn check_fence(
        &self,
        caller: &[String; 4],
        call: Call,
    ) -> Result<(bool, ApplyChunkResponse), Status> {
        let import = (caller[0].clone(), caller[3].clone());
        let highest = self.stored.fences.get(&import).copied().unwrap_or_default();
        let answer = ApplyChunkResponse { outcomes: Vec::new(), fence_before: Some(highest) };
        if highest < call.applied_fence && !call.validate_only {
            return Ok((false, answer));
        }
        if call.fence < highest {
            let reason = ErrorReason::StaleWorker;
            return Err(ApiError::new(Code::Aborted, reason, "a later call was made").into());
        }
        Ok((true, answer))
    }

    pub(super) fn raise_fence(&mut self, caller: &[String; 4], fence: i64) {
        self.stored.fences.insert((caller[0].clone(), caller[3].clone()), fence);
    }

    pub(super) fn apply(
        &mut self,
        caller: &[String; 4],
        call: Call,
        records: &[ApplyRecord],
        fault: Option<InjectedFault>,
    ) -> Result<ApplyChunkResponse, Status> {
        match fault {
            Some(InjectedFault::Unavailable) => return Err(Status::unavailable("away")),
            Some(InjectedFault::Reject) => {
                return Err(Status::failed_precondition("not connected"));
            }
            _ => {}
        }
        let (is_known, answer) = self.check_fence(caller, call)?;
        if !is_known {
            return Ok(answer);
        }
        if !self.connected.contains(&caller[1]) {
            let reason = ErrorReason::ProductNotConnected;
            return Err(ApiError::new(Code::FailedPrecondition, reason, "not connected").into());
        }
        let parsed: Vec<_> = records.iter().map(|record| parse_bytes(&record.record)).collect();
        let kinds: HashSet<_> = parsed.iter().map(|record| record.kind as i32).collect();
        assert!(kinds.len() <= 1, "a chunk is of one kind");
        if parsed.iter().any(|record| self.rejected_ids.contains(&record.source_id)) {
            return Err(Status::invalid_argument("poison"));
        }
        let before = call.validate_only.then(|| self.stored.clone());
        self.raise_fence(caller, call.fence);
        let mut seen = HashSet::new();
        let mut outcomes = Vec::with_capacity(records.len());
        for (parsed, record) in parsed.iter().zip(records) {
            let mut outcome = self.apply_one(caller, call, parsed, record, &mut seen);
            if outcome.status() == RecordStatus::Imported {
                let named = self.duplicates.get(&parsed.source_id).cloned();
                outcome.possible_duplicates.extend(named);
            }
            outcomes.push(outcome);
        }
        // A dry run leaves nothing behind.
        let fence_before = answer.fence_before.filter(|_| !call.validate_only);
        if let Some(before) = before {
            self.stored = before;
        }
        match fault {
            Some(InjectedFault::ResponseLost) => Err(Status::unknown("transport error")),
            _ => Ok(ApplyChunkResponse { outcomes, fence_before }),
        }
    }

    /// Whether the key of a record was erased after the last known erasure.
    fn is_erased(&self, caller: &[String; 4], parsed: &ParsedRecord, known: i64) -> bool {
        let of = caller[0].parse().unwrap();
        let digest = KeyDigest::of(&of, (&caller[1], &caller[2]), parsed.kind, &parsed.source_id);
        let key = Some(Erased::KeyDigest(digest.to_vec().into()));
        let later = self.erasures.get(&caller[0]).into_iter().flatten();
        later.filter(|erasure| erasure.position > known).any(|erasure| erasure.erased == key)
    }

    /// Applies a record. `seen` are the source ids that the chunk has applied.
    fn apply_one(
        &mut self,
        caller: &[String; 4],
        call: Call,
        parsed: &ParsedRecord,
        record: &ApplyRecord,
        seen: &mut HashSet<String>,
    ) -> ApplyOutcome {
        let practice = &caller[0];
        let key = link_key(caller, parsed.kind, &parsed.source_id);
        let link = self.stored.links.get(&key).filter(|_| !seen.contains(&parsed.source_id));
        if let Some(link) = link {
            let again = link.import == caller[3];
            let status = if again { link.first_outcome } else { RecordStatus::Skipped };
            return outcome(status, &link.record_id);
        }
        if self.is_erased(caller, parsed, call.known_erasure) {
            let text = "Record was erased after it was uploaded";
            return failed_with("", ErrorReason::RecordErased, text);
        }
        let draft = match &parsed.outcome {
            Ok(draft) => draft,
            Err(violations) => {
                self.invalid += 1;
                return failed(violations.clone().into_vec());
            }
        };
        if !seen.insert(parsed.source_id.clone()) {
            return failed_with("source_id", ErrorReason::DuplicateKey, "Source id is used twice");
        }
        let parents: Vec<&str> = record.parents.iter().map(|p| p.record_id.as_str()).collect();
        assert!(parents.is_empty() == (parsed.kind == ImportRecordKind::Client));
        let of_parent = |parent: &ApplyParent| {
            self.stored.names.get(&(practice.clone(), parent.record_id.clone())).cloned()
        };
        let missing = record.parents.iter().find(|parent| of_parent(parent).is_none());
        // A dry run has not created the parents.
        if let Some(parent) = missing.filter(|_| !call.validate_only) {
            let is_contact = parsed.kind == ImportRecordKind::Contact;
            let field = if is_contact { "client_source_id" } else { "owner_source_id" };
            let text = format!("Parent record was not found: {}", parent.source_id);
            return failed_with(field, ErrorReason::ParentNotFound, text);
        }
        let parent = record.parents.iter().find_map(of_parent);
        let reference = parent.map_or_else(|| parsed.own_reference.clone(), |(_, of)| of);
        let content = (practice.clone(), content(draft, record, &parents));
        let equal = self.stored.by_content.get(&content).cloned().unwrap_or_default();
        let known = equal.iter().find(|id| !self.stored.is_linked(caller, id)).cloned();
        if known.is_none() {
            let holder = parsed.reference_key.as_ref().and_then(|reference| {
                self.stored.references.get(&(practice.clone(), reference.clone()))
            });
            if let Some(client) = holder {
                let text = format!("Client reference is already used by {client}");
                return failed_with("client_reference", ErrorReason::DuplicateReference, text);
            }
            if parsed.kind == ImportRecordKind::Address && !equal.is_empty() {
                let text = "Period overlaps what is kept already";
                return failed_with("active_from", ErrorReason::PeriodOverlap, text);
            }
        }
        let (status, record_id) = match known {
            Some(known) => (RecordStatus::Linked, known),
            None => (RecordStatus::Imported, self.create(caller, parsed, record, content)),
        };
        // Addresses have no names, and are no parents.
        if parsed.kind != ImportRecordKind::Address {
            let record = (practice.clone(), record_id.clone());
            let names = || (parsed.record_name.clone(), reference);
            self.stored.names.entry(record).or_insert_with(names);
        }
        let link =
            Link { record_id: record_id.clone(), import: caller[3].clone(), first_outcome: status };
        self.stored.links.insert(key, link);
        outcome(status, &record_id)
    }

    fn create(
        &mut self,
        caller: &[String; 4],
        parsed: &ParsedRecord,
        record: &ApplyRecord,
        content: (String, String),
    ) -> String {
        let (kind, name) = match parsed.kind {
            ImportRecordKind::Client => (IdKind::Client, "client"),
            ImportRecordKind::Contact => (IdKind::Person, "contact"),
            _ => (IdKind::Entry, "address"),
        };
        let record_id = ids::text(kind, ids::new_uuid());
        if let Some(reference) = &parsed.reference_key {
            self.stored
                .references
                .insert((caller[0].clone(), reference.clone()), record_id.clone());
        }
        let period = (record.active_from.clone(), record.active_to.clone());
        self.stored.periods.insert(parsed.source_id.clone(), period);
        self.stored.by_content.entry(content).or_default().push(record_id.clone());
        self.stored.created.push(format!("{} {name} {}", caller[0], parsed.source_id));
        record_id
    }
}

/// The content that makes two records equal: the reference and name of a client, the name
/// and birth date of a contact, an address with its first day; and the parents.
fn content(draft: &ImportDraft, record: &ApplyRecord, parents: &[&str]) -> String {
    let own = match draft {
        ImportDraft::Client { client, individual } => {
            let person = individual.as_ref().map(|person| person.name.match_key());
            let company = client.registered_name.as_ref().map(|name| match_key(&name.name));
            let name = person.or(company).unwrap_or_default();
            format!("client {} {name}", client.reference.key)
        }
        ImportDraft::Contact { person, .. } => {
            format!("contact {} {:?}", person.name.match_key(), person.birth_date)
        }
        ImportDraft::Address { address, .. } => {
            let first_day = &record.active_from;
            format!("address {:?} {:?} {first_day}", address.address_type, address.address)
        }
    };
    format!("{own} {}", parents.join(" "))
}

fn outcome(status: RecordStatus, record_id: &str) -> ApplyOutcome {
    let record_id = record_id.to_owned();
    ApplyOutcome { status: status.into(), record_id, ..ApplyOutcome::default() }
}

fn failed(violations: Vec<FieldViolation>) -> ApplyOutcome {
    let violation = |FieldViolation { field, reason, text }| ApplyViolation {
        field,
        reason: reason_code(reason).to_owned(),
        text,
    };
    ApplyOutcome {
        status: RecordStatus::Failed.into(),
        violations: violations.into_iter().map(violation).collect(),
        ..ApplyOutcome::default()
    }
}

/// A record that failed with one violation.
fn failed_with(field: &str, reason: ErrorReason, text: impl Into<String>) -> ApplyOutcome {
    failed(vec![FieldViolation::new(field, reason, text)])
}
