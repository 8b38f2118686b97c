//! Reads every record, and judges it alone.

use serde::{Deserialize, Serialize};
use shared::rules::{
    Violations,
    import::{AddressSlot, ParsedRecord, parse_bytes},
};

use super::{
    job::{Job, Page},
    trouble::WorkFault,
};
use crate::{
    domain::{
        batch::{MAX_RECORD_BYTES, kind_of},
        finding::Finding,
        import::RowId,
        words::{self, Status},
    },
    store::{
        self,
        edits::{Edits, NewFailure, NewParent, NewRecord, Timeline},
        staged::StagedRow,
    },
};

/// Records of a page.
const PAGE: u64 = 2_000;

/// How far the phase has come.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Position {
    batch: i64,
    row: i64,
}

/// Reads the next records of a batch, or the first of the next batch.
pub(super) async fn page(job: &Job) -> Result<Page, WorkFault> {
    let (db, key) = (job.imports.db.reader(), job.key());
    let Position { batch, row } = job.position()?.unwrap_or(Position { batch: 0, row: 0 });
    let mut at = RowId { batch, row };
    let mut records = read(job, at).await?;
    while records.is_empty() {
        let Some(batch) = store::batches::next(db, key, at.batch + 1).await? else {
            return Ok(Page::last(Edits::default()));
        };
        at = RowId { batch, row: 0 };
        records = read(job, at).await?;
    }
    let mut edits = Edits { again: job.is_again(), ..Edits::default() };
    for record in records {
        at = record.at;
        add(&mut edits, job.round(), &record);
    }
    Ok(Page::more(edits, &Position { batch: at.batch, row: at.row })?)
}

/// The next records of a batch that have no verdict.
async fn read(job: &Job, after: RowId) -> Result<Vec<StagedRow>, WorkFault> {
    let (db, key) = (job.imports.db.reader(), job.key());
    Ok(if job.is_again() {
        store::staged::page_without_verdict(db, key, after, PAGE).await?
    } else {
        store::staged::page(db, key, after, PAGE).await?
    })
}

/// Notes what was found of one record.
fn add(edits: &mut Edits, round: i64, record: &StagedRow) {
    let StagedRow { at, payload, counted_as, erased } = record;
    let at = *at;
    if *erased {
        return add_erased(edits, round, record);
    }
    let parsed = parse_bytes(payload);
    let kind = words::kind_of(parsed.kind);
    let size = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    let too_large = (size > MAX_RECORD_BYTES).then(|| Finding::too_large(size, MAX_RECORD_BYTES));
    let status = match &parsed.outcome {
        _ if too_large.is_some() => Status::Failed,
        _ if parsed.excluded => Status::Excluded,
        Ok(_) => Status::Ready,
        Err(_) => Status::Failed,
    };
    edits.tally.add(counted_as.unwrap_or_else(|| kind_of(payload)), Status::Staged, -1);
    edits.tally.add(kind, status, 1);
    if status == Status::Ready {
        add_parents(edits, at, &parsed);
    }
    let timeline = timeline(&parsed);
    let ParsedRecord { source_id, digest, reference_key, own_reference, outcome, warnings, .. } =
        parsed;
    let violations = outcome.err().into_iter().flatten().map(Finding::from);
    let mut findings = too_large.into_iter().chain(violations).peekable();
    // The warnings of a record without findings are noted once it is known how it ends.
    let warnings = if findings.peek().is_some() { warnings } else { Violations::default() };
    edits.failures.extend((0..).zip(findings).map(|(ordinal, finding)| NewFailure {
        at,
        ordinal,
        kind,
        source_id: source_id.clone(),
        status,
        finding,
    }));
    edits.failures.extend(NewFailure::warnings(warnings, at, (kind, &source_id), status));
    edits.records.push(NewRecord {
        at,
        kind,
        source_id,
        digest,
        size_bytes: i64::try_from(payload.len()).unwrap_or(i64::MAX),
        status,
        reference: own_reference,
        reference_key,
        timeline,
        round,
    });
}

/// Notes a record that was erased: it has failed, and has no key.
fn add_erased(edits: &mut Edits, round: i64, record: &StagedRow) {
    let (at, kind, status) = (record.at, kind_of(&record.payload), Status::Failed);
    edits.tally.add(record.counted_as.unwrap_or(kind), Status::Staged, -1);
    edits.tally.add(kind, status, 1);
    edits.failures.push(NewFailure::erased(at, kind, status));
    edits.records.push(NewRecord {
        at,
        kind,
        source_id: String::new(),
        digest: [0; 32],
        size_bytes: 0,
        status,
        reference: String::new(),
        reference_key: None,
        timeline: None,
        round,
    });
}

/// Those of a record that is wrong by itself are not asked for: it is not judged
/// by its parents.
fn add_parents(edits: &mut Edits, at: RowId, parsed: &ParsedRecord) {
    let parents = (0..).zip(&parsed.parents);
    edits.parents.extend(parents.map(|(ordinal, (kind, source_id))| NewParent {
        at,
        ordinal,
        kind: words::kind_of(*kind),
        source_id: source_id.clone(),
    }));
}

/// Owner and type of an address with readable dates, whatever else is wrong.
fn timeline(parsed: &ParsedRecord) -> Option<Timeline> {
    let AddressSlot { address_type, active_from, active_to } = parsed.address_slot?;
    let (owner, source_id) = parsed.parents.first()?;
    let owner = words::kind_of(*owner);
    let name = format!("{owner} {} {source_id}", address_type.as_str_name());
    Some(Timeline { name, active_from, active_to })
}
