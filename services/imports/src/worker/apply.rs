//! Checks records by their parents, and applies the accepted ones through the records
//! service.

mod duplicate_candidates;
mod send;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use bytes::Bytes;
use concord_core::rules::{FieldViolations, date::date_text, import::parse_bytes};
use concord_proto::{pb::internal::ApplyParent, wire::ApplyRecord};
use duplicate_candidates::RecordMatchKeys;

use super::{
    page_context::{Page, PageContext},
    retry_policy::PageError,
};
use crate::{
    domain::{
        duplicate::DuplicateRow,
        enums::{Kind, Status, kind_of},
        issue_ordinal,
        parents::{Parent, ParentState, ParentsVerdict, judge_parents},
    },
    error::ImportError,
    records_client::Outcome,
    store::{
        self,
        edits::{Edits, NewFailure},
        parents::SourceKey,
        records::{KeyPosition, ReadyRow},
    },
};

/// Target size of the records of a chunk, in bytes. The last record may exceed it; the
/// records service accepts twice as much.
const CHUNK_BYTES: u64 = 4 * 1_024 * 1_024;

/// A record that is to be checked by its parents and applied.
struct PendingRecord {
    row: ReadyRow,
    parents: Vec<SourceKey>,
    payload: Bytes,
    warnings: FieldViolations,
    /// Only in a dry run.
    match_keys: Option<RecordMatchKeys>,
}

/// A page that was read ahead, and is to be checked and applied.
pub(super) struct PrefetchedPage {
    pending: Vec<PendingRecord>,
    parent_states: HashMap<SourceKey, ParentState>,
    /// The position of the page after it.
    next: KeyPosition,
}

impl fmt::Debug for PrefetchedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the records, which are personal data.
        f.debug_struct("PrefetchedPage")
            .field("records", &self.pending.len())
            .finish_non_exhaustive()
    }
}

/// Checks and applies the next records of a kind: the prefetched page, or else a page
/// read now. Prefetches the next page while the records service applies this one, and
/// returns it too.
pub(super) async fn page(
    context: &PageContext,
    kind: Kind,
    prefetched: Option<PrefetchedPage>,
) -> Result<(Page, Option<PrefetchedPage>), PageError> {
    let mut current = prefetched;
    if current.is_none() {
        let after = context.position()?.unwrap_or_else(KeyPosition::start);
        current = read_page(context, kind, &after).await?;
    }
    let Some(PrefetchedPage { pending, parent_states, next }) = current else {
        return Ok((Page::last(Edits::default()), None));
    };
    let (mut edits, mut rows, mut records) = (Edits::default(), Vec::new(), Vec::new());
    let mut candidates = Vec::new();
    for PendingRecord { row, parents, payload, warnings, match_keys } in pending {
        match judge_parents(kind, with_states(parents, &parent_states)) {
            ParentsVerdict::Apply(known) => {
                records.push(apply_record(&row, payload, known));
                rows.push((row, warnings));
                candidates.extend(match_keys);
            }
            ParentsVerdict::Reject(status, issues) => {
                let (record_id, duplicates) = (None, Vec::new());
                let rejected = Outcome { status, record_id, issues, duplicates };
                record_outcome(&mut edits, kind, row, rejected, warnings);
            }
        }
    }
    let (outcomes, prefetched) =
        tokio::join!(send::send(context, records), read_page(context, kind, &next));
    let mut outcomes = outcomes?;
    if context.validate_only() {
        edits.match_keys =
            duplicate_candidates::find_within_import(context, &candidates, &mut outcomes).await?;
    }
    for ((row, warnings), outcome) in rows.into_iter().zip(outcomes) {
        record_outcome(&mut edits, kind, row, outcome, warnings);
    }
    // If the prefetch failed, the next page is read again, and reports the error.
    Ok((Page::more(edits, &next)?, prefetched.ok().flatten()))
}

/// Reads the ready records of a kind after a position, and the states of their parents;
/// `None` if there are no records.
async fn read_page(
    context: &PageContext,
    kind: Kind,
    after: &KeyPosition,
) -> Result<Option<PrefetchedPage>, ImportError> {
    let (db, limit) = (context.reader(), context.settings.chunk_records);
    let rows = truncate_to_chunk(store::records::ready_page(db, kind, after, limit).await?);
    let Some(last) = rows.last() else { return Ok(None) };
    let next = KeyPosition { source_id: last.source_id.clone(), at: last.at };
    let pending = read(context, rows).await?;
    let parents: BTreeSet<_> = pending.iter().flat_map(|one| one.parents.clone()).collect();
    let parent_states = store::parents::parent_states(db, parents.into_iter().collect()).await?;
    Ok(Some(PrefetchedPage { pending, parent_states, next }))
}

/// Reads the uploaded records.
async fn read(
    context: &PageContext,
    rows: Vec<ReadyRow>,
) -> Result<Vec<PendingRecord>, ImportError> {
    let row_ids = rows.iter().map(|row| row.at);
    let mut payloads = store::staged::payloads(context.reader(), row_ids).await?;
    let pending = rows.into_iter().map(|row| {
        let payload =
            payloads.remove(&row.at).ok_or(ImportError::Corrupt("missing staged record"))?;
        let parsed = parse_bytes(&payload);
        let match_keys = context.validate_only().then(|| RecordMatchKeys::of(&parsed));
        let parents = parsed.parents.into_iter();
        let parents = parents.map(|(kind, source_id)| (kind_of(kind), source_id)).collect();
        let warnings = parsed.warnings;
        Ok(PendingRecord { row, parents, payload: payload.into(), warnings, match_keys })
    });
    pending.collect()
}

/// The first rows that fit in one chunk, at least one.
fn truncate_to_chunk(mut rows: Vec<ReadyRow>) -> Vec<ReadyRow> {
    let mut size = 0;
    let within = |row: &&ReadyRow| {
        let fits = size < CHUNK_BYTES;
        size += row.size_bytes;
        fits
    };
    let count = rows.iter().take_while(within).count();
    rows.truncate(count);
    rows
}

fn with_states(
    parents: Vec<SourceKey>,
    parent_states: &HashMap<SourceKey, ParentState>,
) -> Vec<Parent> {
    let with_state = |parent: SourceKey| {
        let state = parent_states.get(&parent).cloned().unwrap_or(ParentState::NotFound);
        Parent { source_id: parent.1, state }
    };
    parents.into_iter().map(with_state).collect()
}

fn apply_record(row: &ReadyRow, record: Bytes, known: Vec<(String, String)>) -> ApplyRecord {
    let parent = |(source_id, record_id)| ApplyParent { source_id, record_id };
    ApplyRecord {
        record,
        parents: known.into_iter().map(parent).collect(),
        active_from: date_text(row.active_from),
        active_to: date_text(row.ends_on),
    }
}

/// Adds the outcome of a record to the changes of the page.
fn record_outcome(
    edits: &mut Edits,
    kind: Kind,
    row: ReadyRow,
    outcome: Outcome,
    warnings: FieldViolations,
) {
    let ReadyRow { at, source_id, .. } = row;
    let Outcome { status, record_id, issues, duplicates } = outcome;
    edits.update_status(at, kind, (Status::Ready, status), record_id);
    let failure = |(ordinal, issue)| {
        let source_id = source_id.clone();
        NewFailure { at, ordinal, kind, source_id, status, issue }
    };
    edits.failures.extend((issue_ordinal::FIRST_OF_APPLY..).zip(issues).map(failure));
    // Skipped and excluded records get no warnings.
    if !matches!(status, Status::Skipped | Status::Excluded) {
        edits.failures.extend(NewFailure::warnings(warnings, at, (kind, &source_id), status));
    }
    edits.duplicates.extend(duplicates.into_iter().map(|duplicate| DuplicateRow {
        at,
        kind,
        source_id: source_id.clone(),
        duplicate,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::import::RowId;

    fn ready(size_bytes: u64) -> ReadyRow {
        let at = RowId { batch: 1, row: 1 };
        ReadyRow { at, source_id: "A".into(), size_bytes, active_from: None, ends_on: None }
    }

    #[test]
    fn chunk_has_a_record_and_ends_near_its_limit() {
        assert_eq!(truncate_to_chunk(vec![ready(CHUNK_BYTES * 2), ready(1)]).len(), 1);
        assert_eq!(truncate_to_chunk(vec![ready(65_536); 500]).len(), 64);
        assert_eq!(truncate_to_chunk(Vec::new()).len(), 0);
    }
}
