//! Applying an import in chunks: records of one kind, with resolved parents.
//!
//! A chunk is one transaction. Chunks are idempotent: the link of a record stores the
//! import and the outcome, so that a repeated chunk gets the same answer and imports
//! nothing twice. An invalid record fails alone. A chunk of a stale worker, which arrives
//! after a later chunk of its import, is rejected by its fencing token.

mod addresses;
mod analyze_schedule;
mod chunk;
mod clients;
mod contacts;
mod duplicate_candidates;
mod resolve;

use std::collections::{HashMap, HashSet};

pub(crate) use analyze_schedule::AnalyzeSchedule;
use chunk::{Chunk, Incoming, failed_invalid, key_digest, link_kind, parse};
use concord_core::{caller::Caller, key_digest::KeyDigest, status::ApiError};
use concord_db::{TenantDb, WriteEnd};
use concord_proto::{
    pb::{
        imports::ImportRecordKind,
        internal::{
            self as pb, ApplyChunkRequest, ApplyChunkResponse, ApplyOutcome, ListErasuresResponse,
            ResolvedLink, SourceKey,
        },
        records::ErrorReason,
    },
    wire::ApplyRecord,
};
use duplicate_candidates::DuplicateCandidates;
use sea_orm::ConnectionTrait;

use super::{Records, new_records::NewRecords, unit_of_work::UnitOfWork};
use crate::{
    domain::link::LinkKind,
    error::{RecordError, stale_worker},
    image::timestamp,
    migrations,
    store::{
        erasures::{self, Erased, Erasure},
        fences,
    },
};

/// Maximum number of records of a chunk.
pub(crate) const MAX_CHUNK_RECORDS: usize = 5_000;
/// Maximum number of parents of all records of a chunk.
pub(crate) const MAX_CHUNK_PARENTS: usize = 20_000;
/// Maximum number of erasures of a page.
const MAX_ERASURES: u64 = 5_000;
/// Maximum number of source ids of a lookup.
pub(crate) const MAX_KEYS: usize = 5_000;

impl Records {
    /// Applies a chunk, or checks it in a dry run. Returns one outcome for each record, in
    /// their order, and the previous fencing token of the import. A chunk without records
    /// only raises the fencing token.
    pub(crate) async fn apply_chunk(
        &self,
        caller: Caller,
        request: ApplyChunkRequest,
    ) -> Result<ApplyChunkResponse, RecordError> {
        let ApplyChunkRequest { records, validate_only, fence, applied_fence, known_erasure } =
            request;
        let import =
            caller.import.ok_or_else(|| ApiError::internal(&"a chunk without an import"))?;
        let (kind, incoming) = check_chunk(&records)?;
        let count = incoming.len();
        let applied = self.write_or_roll_back(caller, incoming, move |work, incoming| async move {
            let db = work.db();
            let before = fences::current(db, import).await?;
            let fence_before = Some(before);
            let empty = ApplyChunkResponse { outcomes: Vec::new(), fence_before };
            if before < applied_fence && !validate_only {
                return Ok(WriteEnd::Commit(empty));
            }
            if !fences::raise(db, import, fence, work.at.now).await? {
                return Err(stale_worker().into());
            }
            if incoming.is_empty() {
                return Ok(WriteEnd::Commit(empty));
            }
            let mode =
                ApplyMode { validate_only, known_erasure: known_erasure.unwrap_or(i64::MAX) };
            let applied = apply(&work, kind, &incoming, mode).await;
            let outcomes = applied.map_err(RecordError::or_write_conflict)?;
            if validate_only {
                let answer = ApplyChunkResponse { outcomes, fence_before: None };
                return Ok(WriteEnd::Rollback(answer));
            }
            Ok(WriteEnd::Commit(ApplyChunkResponse { outcomes, fence_before }))
        });
        let answer = applied.await?;
        if !validate_only && self.analyze_schedule.add(count) {
            self.db.analyze(migrations::ANALYZE_FUNCTION).await;
        }
        Ok(answer)
    }

    /// The erasures of the practice after a position.
    pub(crate) async fn list_erasures(
        &self,
        caller: &Caller,
        after: i64,
    ) -> Result<ListErasuresResponse, RecordError> {
        let db = self.db.reader_of(&caller.practice);
        // Read before the page, so that the page includes all erasures up to the head.
        let head = erasures::head(db).await?;
        let page = erasures::page(db, after, MAX_ERASURES).await?;
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

    /// The source ids of the caller's account that are linked to a record.
    pub(crate) async fn resolve_links(
        &self,
        caller: &Caller,
        keys: &[SourceKey],
    ) -> Result<Vec<ResolvedLink>, RecordError> {
        if keys.len() > MAX_KEYS {
            return Err(too_many("keys", MAX_KEYS).into());
        }
        resolve::links(self.db.reader_of(&caller.practice), caller, keys).await
    }
}

/// Parses the records of a chunk, and checks that they are of one kind.
fn check_chunk(records: &[ApplyRecord]) -> Result<(ImportRecordKind, Vec<Incoming>), ApiError> {
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
        Err(ApiError::invalid_field("records", ErrorReason::InvalidRequest, text))
    }
}

fn too_many(field: &str, limit: usize) -> ApiError {
    let text = format!("at most {limit} at once");
    ApiError::invalid_field(field, ErrorReason::ValueTooLong, text)
}

/// How a chunk is applied.
#[derive(Clone, Copy)]
struct ApplyMode {
    validate_only: bool,
    /// The position of the last erasure that the import has processed.
    known_erasure: i64,
}

async fn apply(
    work: &UnitOfWork,
    kind: ImportRecordKind,
    incoming: &[Incoming],
    ApplyMode { validate_only, known_erasure }: ApplyMode,
) -> Result<Vec<ApplyOutcome>, RecordError> {
    let (db, caller, at) = (work.db(), &work.caller, work.at);
    let recipients = work.recipients().await?;
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
            chunk.outcomes.extend(incoming.iter().map(failed_invalid));
        }
    }
    let persons = chunk.new.persons_of_clients();
    chunk.new.write(work, &recipients).await?;
    // The records of the chunk are compared with each other too.
    work.flush().await?;
    let mut outcomes = chunk.outcomes;
    let candidates = DuplicateCandidates { caller, persons, validate_only };
    candidates.add_to(db, incoming, &mut outcomes).await?;
    Ok(outcomes)
}

/// The keys of the records that were erased after the last erasure that the import has
/// processed.
async fn erased(
    db: TenantDb<'_, impl ConnectionTrait>,
    caller: &Caller,
    kind: LinkKind,
    incoming: &[Incoming],
    known: i64,
) -> Result<HashSet<KeyDigest>, RecordError> {
    if erasures::head(db).await? <= known {
        return Ok(HashSet::new());
    }
    let keys: Vec<_> =
        incoming.iter().map(|record| key_digest(caller, kind, &record.source_id)).collect();
    erasures::keys_after(db, known, &keys).await
}
