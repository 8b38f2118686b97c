//! Judges records by their parents, and has the records service apply the rest.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use shared::{
    pb::{imports::ImportRecordKind, internal::ApplyParent},
    rules::{
        date::date_text,
        import::parse_bytes,
    },
    wire::ApplyRecord,
};

use super::{
    job::{Job, Page},
    trouble::WorkFault,
};
use crate::{
    domain::{
        finding::Finding,
        parents::{Fate, Parent, ParentsVerdict, judge_parents},
        words::{Kind, Status, kind_of},
    },
    error::ImportError,
    records_client::{CallFault, FaultKind, Outcome},
    store::{
        self,
        edits::{Edits, Mark, NewFailure},
        parents::SourceKey,
        records::{KeyPosition, ReadyRow},
    },
};

/// The records of a chunk together, in bytes; one more may go over it, and the
/// records service takes twice as much.
const CHUNK_BYTES: u64 = 4 * 1_024 * 1_024;

/// The failures of this phase among those of a record.
const ORDINAL: i64 = 2_000;

/// How often a chunk is sent again before some record of it is blamed for a
/// fault that nobody can tell the cause of.
const TRIES: u32 = 5;

/// More records of one chunk than this are not to blame: something is wrong with
/// the service, and the import must wait rather than fail them all.
const MAX_BLAMED: usize = 20;

/// Judges and applies the next records of a kind.
pub(super) async fn page(job: &Job, kind: Kind) -> Result<Page, WorkFault> {
    let after = job.position()?.unwrap_or_else(KeyPosition::start);
    let (db, key) = (job.imports.db.reader(), job.key());
    let limit = job.settings.chunk_records;
    let rows = fitting(store::records::ready_page(db, key, kind, &after, limit).await?);
    let Some(last) = rows.last() else { return Ok(Page::last(Edits::default())) };
    let next = KeyPosition {
        source_id: last.source_id.clone(),
        batch: last.at.batch,
        row: last.at.row,
    };
    let mut payloads = store::staged::payloads(db, key, rows.iter().map(|row| row.at)).await?;
    let mut read = Vec::new();
    for row in rows {
        let payload = payloads.remove(&row.at).ok_or(ImportError::Corrupt("a lost record"))?;
        read.push((row, parse_bytes(&payload).parents, Bytes::from(payload)));
    }
    let parents: BTreeSet<_> = read.iter().flat_map(|(_, parents, _)| source_keys(parents)).collect();
    let fates = store::parents::fates(db, key, parents.into_iter().collect()).await?;
    let (mut edits, mut ready, mut chunk) = (Edits::default(), Vec::new(), Vec::new());
    for (row, parents, payload) in read {
        match judge_parents(kind, with_fates(&parents, &fates)) {
            ParentsVerdict::Apply(known) => {
                chunk.push(apply_record(&row, payload, known));
                ready.push(row);
            }
            ParentsVerdict::Refuse(status, findings) => {
                end(&mut edits, kind, row, status, None, findings);
            }
        }
    }
    for (row, outcome) in ready.into_iter().zip(apply(job, chunk).await?) {
        let Outcome { status, record_id, findings } = outcome;
        end(&mut edits, kind, row, status, record_id, findings);
    }
    Ok(Page::more(edits, &next)?)
}

/// The first rows that fit one chunk; at least one.
fn fitting(mut rows: Vec<ReadyRow>) -> Vec<ReadyRow> {
    let mut size = 0;
    let within = |row: &&ReadyRow| {
        let fits = size < CHUNK_BYTES;
        size += row.size_bytes;
        fits
    };
    let fitting = rows.iter().take_while(within).count();
    rows.truncate(fitting);
    rows
}

/// The parents that a record names.
type Named = Vec<(ImportRecordKind, String)>;

fn source_keys(parents: &Named) -> impl Iterator<Item = SourceKey> + '_ {
    parents.iter().map(|(kind, source_id)| (kind_of(*kind), source_id.clone()))
}

fn with_fates(parents: &Named, fates: &HashMap<SourceKey, Fate>) -> Vec<Parent> {
    let with_fate = |parent: SourceKey| {
        let fate = fates.get(&parent).cloned().unwrap_or(Fate::Missing);
        Parent { source_id: parent.1, fate }
    };
    source_keys(parents).map(with_fate).collect()
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

/// Notes how a record has ended.
fn end(
    edits: &mut Edits,
    kind: Kind,
    row: ReadyRow,
    status: Status,
    record_id: Option<String>,
    findings: Vec<Finding>,
) {
    let ReadyRow { at, source_id, .. } = row;
    edits.tally.shift(kind, Status::Ready, status);
    edits.marks.push(Mark { at, status, record_id });
    edits.failures.extend((ORDINAL..).zip(findings).map(|(ordinal, finding)| NewFailure {
        at,
        ordinal,
        kind,
        source_id: source_id.clone(),
        status,
        finding,
    }));
}

/// Applies the records. When the service does not take a chunk, it is halved
/// until the records that are to blame stand alone; those fail.
async fn apply(job: &Job, chunk: Vec<ApplyRecord>) -> Result<Vec<Outcome>, CallFault> {
    let (mut outcomes, mut blamed) = (Vec::new(), 0);
    let mut waiting = vec![chunk];
    while let Some(mut chunk) = waiting.pop() {
        if chunk.is_empty() {
            continue;
        }
        match job.imports.records.apply(&job.behalf, chunk.clone()).await {
            Ok(answer) => outcomes.extend(answer),
            Err(fault) if !is_records_fault(&fault, job.tries()) || blamed == MAX_BLAMED => {
                return Err(fault);
            }
            Err(_) if chunk.len() == 1 => {
                blamed += 1;
                outcomes.push(Outcome {
                    status: Status::Failed,
                    record_id: None,
                    findings: vec![Finding::internal()],
                });
            }
            Err(_) => {
                let second = chunk.split_off(chunk.len() / 2);
                waiting.extend([second, chunk]);
            }
        }
    }
    Ok(outcomes)
}

/// Whether some record of the chunk may be to blame.
fn is_records_fault(fault: &CallFault, tries: u32) -> bool {
    match fault.kind {
        FaultKind::Poison => true,
        FaultKind::Unclear => tries >= TRIES,
        FaultKind::Passing | FaultKind::Lasting => false,
    }
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
    fn a_chunk_has_a_record_and_ends_near_its_limit() {
        assert_eq!(fitting(vec![ready(CHUNK_BYTES * 2), ready(1)]).len(), 1);
        assert_eq!(fitting(vec![ready(65_536); 500]).len(), 64);
        assert_eq!(fitting(Vec::new()).len(), 0);
    }
}
