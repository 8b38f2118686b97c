//! Applying an import: chunks of records of one kind, whose parents are known.
//!
//! Every chunk is one transaction. What a record becomes is remembered by its
//! link, which carries the import: a chunk that is sent again is answered as the
//! first time, and nothing is imported twice. A bad record fails alone. A chunk
//! that comes after a later one of its import, from a worker that was held up, is
//! refused by its fence.

mod addresses;
mod clients;
mod contacts;
mod growth;
mod look_alikes;
mod resolve;

use std::collections::{HashMap, HashSet};

pub(crate) use growth::Growth;
use look_alikes::LookAlikes;
use prost::Message as _;
use sea_orm::ConnectionTrait;
use shared::{
    caller::Caller,
    key_digest::KeyDigest,
    pb::{
        imports::{ImportRecordKind, RecordStatus},
        internal::{
            self as pb, ApplyChunkRequest, ApplyChunkResponse, ApplyOutcome, ApplyParent,
            ApplyViolation, ListErasuresResponse, ResolvedLink, SourceKey,
        },
        records::ErrorReason,
    },
    rules::{
        Violation, Violations, date,
        import::{ImportDraft, parse_bytes},
        reason_code,
    },
    status::Refusal,
    wire::ApplyRecord,
};
use uuid::Uuid;

use super::{Records, new_records::NewRecords, script::Script};
use crate::{
    domain::{
        link::{ImportOutcome, Link, LinkKind},
        moment::Moment,
    },
    error::{RecordError, stale_worker},
    image::timestamp,
    migrations,
    store::{
        erasures::{self, Erased, Erasure},
        fences, links,
    },
};

/// Records of one chunk at most.
pub(crate) const MAX_CHUNK_RECORDS: usize = 5_000;
/// Parents that the records of one chunk may name, all together.
pub(crate) const MAX_CHUNK_PARENTS: usize = 20_000;
/// Erasures of one page at most.
const MAX_ERASURES: u64 = 5_000;
/// Source ids of one look-up at most.
pub(crate) const MAX_KEYS: usize = 5_000;

/// One record of a chunk, parsed.
#[derive(Clone, Debug)]
struct Incoming {
    kind: ImportRecordKind,
    source_id: String,
    draft: Result<ImportDraft, Violations>,
    parents: Vec<ApplyParent>,
    active_from: String,
    active_to: String,
}

impl Records {
    /// Applies a chunk, or finds out what would come of it; one outcome for each
    /// record, in their order, and the fence of the import before. A chunk without
    /// records only raises the fence.
    pub(crate) async fn apply_chunk(
        &self,
        caller: Caller,
        request: ApplyChunkRequest,
    ) -> Result<ApplyChunkResponse, RecordError> {
        let ApplyChunkRequest { records, validate_only, fence, applied_fence, known_erasure } =
            request;
        let import =
            caller.import.ok_or_else(|| Refusal::internal(&"a chunk that names no import"))?;
        let (kind, incoming) = check_chunk(&records)?;
        let count = incoming.len();
        let applied = self.write(caller, incoming, move |script, incoming| async move {
            let (db, practice) = (script.db(), &script.caller.practice);
            let before = fences::current(db, practice, import).await?;
            let fence_before = Some(before);
            let nothing = ApplyChunkResponse { outcomes: Vec::new(), fence_before };
            if before < applied_fence && !validate_only {
                return Ok(nothing);
            }
            if !fences::raise(db, practice, import, fence, script.at.now).await? {
                return Err(stale_worker().into());
            }
            if incoming.is_empty() {
                return Ok(nothing);
            }
            let how = How { validate_only, known_erasure: known_erasure.unwrap_or(i64::MAX) };
            let applied = apply(&script, kind, &incoming, how).await;
            let outcomes = applied.map_err(RecordError::or_raced)?;
            if validate_only {
                // An error, so that the transaction is undone.
                let answer = ApplyChunkResponse { outcomes, fence_before: None };
                return Err(RecordError::OnlyChecked(answer.encode_to_vec()));
            }
            Ok(ApplyChunkResponse { outcomes, fence_before })
        });
        match applied.await {
            Err(RecordError::OnlyChecked(answer)) => {
                let answer = ApplyChunkResponse::decode(answer.as_slice());
                answer.map_err(|_| RecordError::Corrupt("an answer"))
            }
            applied => {
                if applied.is_ok() && self.growth.add(count) {
                    self.db.learn(migrations::LEARN).await;
                }
                applied
            }
        }
    }

    /// The erasures of the practice after a position.
    pub(crate) async fn list_erasures(
        &self,
        caller: &Caller,
        after: i64,
    ) -> Result<ListErasuresResponse, RecordError> {
        let (db, practice) = (self.db.reader(), &caller.practice);
        // Before them: up to there all of them are read.
        let head = erasures::head(db, practice).await?;
        let page = erasures::page(db, practice, after, MAX_ERASURES).await?;
        let erasure = |erasure: Erasure| pb::Erasure {
            position: erasure.position,
            erase_time: Some(timestamp(erasure.erased_at)),
            erased: Some(match erasure.what {
                Erased::Record(record) => pb::erasure::Erased::RecordId(record.text()),
                Erased::Key(digest) => pb::erasure::Erased::KeyDigest(digest.to_vec().into()),
            }),
        };
        Ok(ListErasuresResponse { erasures: page.into_iter().map(erasure).collect(), head })
    }

    /// Which source ids of the caller's account are linked to a live record.
    pub(crate) async fn resolve_links(
        &self,
        caller: &Caller,
        keys: &[SourceKey],
    ) -> Result<Vec<ResolvedLink>, RecordError> {
        if keys.len() > MAX_KEYS {
            return Err(too_many("keys", MAX_KEYS).into());
        }
        resolve::links(self.db.reader(), caller, keys).await
    }
}

/// The kind of the records, which is one, and the records parsed.
fn check_chunk(records: &[ApplyRecord]) -> Result<(ImportRecordKind, Vec<Incoming>), Refusal> {
    if records.len() > MAX_CHUNK_RECORDS {
        return Err(too_many("records", MAX_CHUNK_RECORDS));
    }
    if records.iter().map(|record| record.parents.len()).sum::<usize>() > MAX_CHUNK_PARENTS {
        return Err(too_many("parents", MAX_CHUNK_PARENTS));
    }
    let incoming: Vec<Incoming> = records.iter().map(parse).collect();
    let kind = incoming.first().map_or(ImportRecordKind::Unspecified, |record| record.kind);
    if incoming.iter().all(|record| record.kind == kind) {
        Ok((kind, incoming))
    } else {
        let text = "all records of a chunk must be of one kind";
        Err(Refusal::invalid_field("records", ErrorReason::InvalidRequest, text))
    }
}

fn too_many(field: &str, limit: usize) -> Refusal {
    let text = format!("at most {limit} at once");
    Refusal::invalid_field(field, ErrorReason::ValueTooLong, text)
}

fn parse(record: &ApplyRecord) -> Incoming {
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

/// How a chunk is applied.
#[derive(Clone, Copy)]
struct How {
    validate_only: bool,
    /// The last erasure that the import knows.
    known_erasure: i64,
}

/// What a chunk's records become, and what has to be written for it.
struct Chunk<'a> {
    caller: &'a Caller,
    at: Moment,
    link_kind: LinkKind,
    /// Links of this account that were there before the chunk; see
    /// [`Chunk::look_up`].
    known: HashMap<String, Link>,
    /// Keys that were erased after they were uploaded.
    erased: HashSet<KeyDigest>,
    /// Source ids that the chunk has dealt with.
    seen: HashSet<String>,
    new: NewRecords,
    outcomes: Vec<ApplyOutcome>,
    /// Whether nothing is to be written. A parent that is not there is one that an
    /// earlier chunk would have created.
    validate_only: bool,
}

async fn apply(
    script: &Script,
    kind: ImportRecordKind,
    incoming: &[Incoming],
    How { validate_only, known_erasure }: How,
) -> Result<Vec<ApplyOutcome>, RecordError> {
    let (db, caller, at) = (script.db(), &script.caller, script.at);
    let audience = script.audience().await?;
    let link_kind = link_kind(kind);
    let mut chunk = Chunk {
        caller,
        at,
        link_kind,
        known: HashMap::new(),
        erased: erased(db, caller, link_kind, incoming, known_erasure).await?,
        seen: HashSet::new(),
        new: NewRecords::default(),
        outcomes: Vec::with_capacity(incoming.len()),
        validate_only,
    };
    match kind {
        ImportRecordKind::Client => clients::apply(db, &mut chunk, incoming).await?,
        ImportRecordKind::Contact => contacts::apply(db, &mut chunk, incoming).await?,
        ImportRecordKind::Address => addresses::apply(db, &mut chunk, incoming).await?,
        ImportRecordKind::Unspecified => {
            chunk.outcomes.extend(incoming.iter().map(failed_own));
        }
    }
    let persons = chunk.new.persons_of_clients();
    chunk.new.write(script, &audience).await?;
    // Its own records are compared with each other too.
    script.write_what_waits().await?;
    let mut outcomes = chunk.outcomes;
    let look_alikes = LookAlikes { caller, persons, validate_only };
    look_alikes.name(db, incoming, &mut outcomes).await?;
    Ok(outcomes)
}

/// The keys of the records that were erased after the last erasure that the import
/// knows.
async fn erased(
    db: &impl ConnectionTrait,
    caller: &Caller,
    kind: LinkKind,
    incoming: &[Incoming],
    known: i64,
) -> Result<HashSet<KeyDigest>, RecordError> {
    if erasures::head(db, &caller.practice).await? <= known {
        return Ok(HashSet::new());
    }
    let keys: Vec<_> =
        incoming.iter().map(|record| key_digest(caller, kind, &record.source_id)).collect();
    erasures::keys_after(db, &caller.practice, known, &keys).await
}

fn key_digest(caller: &Caller, kind: LinkKind, source_id: &str) -> KeyDigest {
    let Caller { practice, product, account, .. } = caller;
    KeyDigest::of(practice, (product.as_str(), account.as_str()), kind.imported(), source_id)
}

impl Chunk<'_> {
    /// Reads the links that are there. To be done once the records that the chunk
    /// may change are locked, and read: the same chunk may be under way already,
    /// sent by a worker that has gone away since. What of it is visible by then is
    /// known, and never taken for another's.
    async fn look_up(
        &mut self,
        db: &impl ConnectionTrait,
        incoming: &[Incoming],
    ) -> Result<(), RecordError> {
        let ids: Vec<String> = incoming.iter().map(|record| record.source_id.clone()).collect();
        let Caller { practice, product, account, .. } = self.caller;
        let account = (product, account);
        let known = links::by_external_ids(db, practice, account, self.link_kind, &ids).await?;
        self.known = known.into_iter().map(|link| (link.external_id.clone(), link)).collect();
        Ok(())
    }

    /// The outcome of a record that needs no judgement: it is linked already, it
    /// is not valid, or the chunk had its source id before. Otherwise its draft.
    fn admit<'r>(&mut self, record: &'r Incoming) -> Result<&'r ImportDraft, ApplyOutcome> {
        if let Some(link) = self.known.get(&record.source_id) {
            return Err(self.known_outcome(link));
        }
        if !self.erased.is_empty()
            && self.erased.contains(&key_digest(self.caller, self.link_kind, &record.source_id))
        {
            let text = "Record was erased after it was uploaded";
            return Err(failed(vec![Violation::new("", ErrorReason::RecordErased, text)]));
        }
        let draft = record.draft.as_ref().map_err(|_| failed_own(record))?;
        if self.seen.insert(record.source_id.clone()) {
            Ok(draft)
        } else {
            let text = "Source id is used twice";
            Err(failed(vec![Violation::new("source_id", ErrorReason::DuplicateKey, text)]))
        }
    }

    /// As the first time, when this import made the link; skipped, when the
    /// record came through another door.
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

    /// Links a record under the source id, and notes the outcome.
    fn link(&mut self, record: &Incoming, record_id: Uuid, outcome: ImportOutcome) -> ApplyOutcome {
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

/// The kind of link that a kind of record makes.
fn link_kind(kind: ImportRecordKind) -> LinkKind {
    match kind {
        ImportRecordKind::Contact => LinkKind::Person,
        ImportRecordKind::Address => LinkKind::Entry,
        ImportRecordKind::Client | ImportRecordKind::Unspecified => LinkKind::Client,
    }
}

/// The id of a linked record as callers see it.
fn record_text(kind: LinkKind, id: Uuid) -> String {
    use shared::ids::{IdKind, text};
    match kind {
        LinkKind::Client => text(IdKind::Client, id),
        LinkKind::Person => text(IdKind::Person, id),
        LinkKind::Entry => text(IdKind::Entry, id),
    }
}

fn outcome(status: RecordStatus, kind: LinkKind, id: Uuid) -> ApplyOutcome {
    ApplyOutcome {
        status: status.into(),
        record_id: record_text(kind, id),
        ..ApplyOutcome::default()
    }
}

/// A record that fails, with all that is wrong with it.
fn failed(violations: Vec<Violation>) -> ApplyOutcome {
    let violation = |violation: Violation| ApplyViolation {
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

/// A record whose own fields are not valid.
fn failed_own(record: &Incoming) -> ApplyOutcome {
    match &record.draft {
        Err(violations) => failed(violations.clone().into_vec()),
        Ok(_) => failed(vec![Violation::new(
            "",
            ErrorReason::UnreadableRecord,
            "Record could not be read",
        )]),
    }
}

/// A record whose parent is not there any longer.
fn parent_gone(field: &str, source_id: &str) -> ApplyOutcome {
    let text = format!("Parent record was not found: {source_id}");
    failed(vec![Violation::new(field, ErrorReason::ParentNotFound, text)])
}

/// The period that the import has worked out for an address.
fn period_of(record: &Incoming) -> Option<date::Period> {
    let from = date::parse_date(&record.active_from).ok()?;
    let to = date::parse_date(&record.active_to).ok()?;
    let period = date::Period::new(from, to);
    period.is_valid().then_some(period)
}
