//! Judges records by their parents, and has the records service apply the rest.

mod look_alikes;
mod send;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use bytes::Bytes;
use look_alikes::Looks;
use shared::{
    pb::internal::ApplyParent,
    rules::{Violations, date::date_text, import::parse_bytes},
    wire::ApplyRecord,
};

use super::{
    job::{Job, Page},
    trouble::WorkFault,
};
use crate::{
    domain::{
        duplicate::DuplicateRow,
        parents::{Fate, Parent, ParentsVerdict, judge_parents},
        words::{Kind, Status, kind_of},
    },
    error::ImportError,
    records_client::Outcome,
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

/// A record that waits to be judged by its parents, and applied.
struct Waiting {
    row: ReadyRow,
    parents: Vec<SourceKey>,
    payload: Bytes,
    warnings: Violations,
    /// Of a dry run.
    looks: Option<Looks>,
}

/// A page that was read, and waits to be judged and applied.
pub(super) struct Ahead {
    waiting: Vec<Waiting>,
    fates: HashMap<SourceKey, Fate>,
    /// Where the page after it begins.
    next: KeyPosition,
}

impl fmt::Debug for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the records: they are people's data.
        f.debug_struct("Ahead").field("records", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// Judges and applies the next records of a kind: those of `ahead`, if they were
/// read before. Those that follow are read while the records service is at work.
pub(super) async fn page(job: &Job, kind: Kind, ahead: Option<Ahead>) -> Result<Page, WorkFault> {
    let mut at_hand = ahead;
    if at_hand.is_none() {
        let after = job.position()?.unwrap_or_else(KeyPosition::start);
        at_hand = read_page(job, kind, &after).await?;
    }
    let Some(Ahead { waiting, fates, next }) = at_hand else {
        return Ok(Page::last(Edits::default()));
    };
    let (mut edits, mut rows, mut records) = (Edits::default(), Vec::new(), Vec::new());
    let mut looking = Vec::new();
    for Waiting { row, parents, payload, warnings, looks } in waiting {
        match judge_parents(kind, with_fates(parents, &fates)) {
            ParentsVerdict::Apply(known) => {
                records.push(apply_record(&row, payload, known));
                rows.push((row, warnings));
                looking.extend(looks);
            }
            ParentsVerdict::Refuse(status, findings) => {
                let (record_id, duplicates) = (None, Vec::new());
                let refused = Outcome { status, record_id, findings, duplicates };
                end(&mut edits, kind, row, refused, warnings);
            }
        }
    }
    let (outcomes, ahead) = tokio::join!(send::send(job, records), read_page(job, kind, &next));
    let mut outcomes = outcomes?;
    if job.validate_only() {
        edits.likenesses = look_alikes::within(job, &looking, &mut outcomes).await?;
    }
    for ((row, warnings), outcome) in rows.into_iter().zip(outcomes) {
        end(&mut edits, kind, row, outcome, warnings);
    }
    // What could not be read ahead is read again in its turn, which tells why.
    Ok(Page { ahead: ahead.ok().flatten(), ..Page::more(edits, &next)? })
}

/// Reads the records of a kind after a position that wait to be applied, and what
/// became of their parents; `None` when there are none.
async fn read_page(
    job: &Job,
    kind: Kind,
    after: &KeyPosition,
) -> Result<Option<Ahead>, ImportError> {
    let (db, key, limit) = (job.imports.db.reader(), job.key(), job.settings.chunk_records);
    let rows = fitting(store::records::ready_page(db, key, kind, after, limit).await?);
    let Some(last) = rows.last() else { return Ok(None) };
    let (source_id, at) = (last.source_id.clone(), last.at);
    let next = KeyPosition { source_id, batch: at.batch, row: at.row };
    let waiting = read(job, rows).await?;
    let parents: BTreeSet<_> = waiting.iter().flat_map(|one| one.parents.clone()).collect();
    let fates = store::parents::fates(db, key, parents.into_iter().collect()).await?;
    Ok(Some(Ahead { waiting, fates, next }))
}

/// Reads the records as they arrived.
async fn read(job: &Job, rows: Vec<ReadyRow>) -> Result<Vec<Waiting>, ImportError> {
    let places = rows.iter().map(|row| row.at);
    let mut payloads = store::staged::payloads(job.imports.db.reader(), job.key(), places).await?;
    let waiting = rows.into_iter().map(|row| {
        let payload = payloads.remove(&row.at).ok_or(ImportError::Corrupt("a lost record"))?;
        let parsed = parse_bytes(&payload);
        let looks = job.validate_only().then(|| Looks::of(&parsed));
        let parents = parsed.parents.into_iter();
        let parents = parents.map(|(kind, source_id)| (kind_of(kind), source_id)).collect();
        let warnings = parsed.warnings;
        Ok(Waiting { row, parents, payload: payload.into(), warnings, looks })
    });
    waiting.collect()
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

fn with_fates(parents: Vec<SourceKey>, fates: &HashMap<SourceKey, Fate>) -> Vec<Parent> {
    let with_fate = |parent: SourceKey| {
        let fate = fates.get(&parent).cloned().unwrap_or(Fate::Missing);
        Parent { source_id: parent.1, fate }
    };
    parents.into_iter().map(with_fate).collect()
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
fn end(edits: &mut Edits, kind: Kind, row: ReadyRow, outcome: Outcome, warnings: Violations) {
    let ReadyRow { at, source_id, .. } = row;
    let Outcome { status, record_id, findings, duplicates } = outcome;
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
    // What is skipped or excluded is not taken, and nothing of it is worth a warning.
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
    fn a_chunk_has_a_record_and_ends_near_its_limit() {
        assert_eq!(fitting(vec![ready(CHUNK_BYTES * 2), ready(1)]).len(), 1);
        assert_eq!(fitting(vec![ready(65_536); 500]).len(), 64);
        assert_eq!(fitting(Vec::new()).len(), 0);
    }
}
