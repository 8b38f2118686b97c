//! Lets the corrected records of a round stand in for those that failed.

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use serde::{Deserialize, Serialize};
use shared::pb::imports::ImportRecord;

use super::{
    job::{Job, Page},
    trouble::WorkFault,
};
use crate::{
    domain::{
        finding::Finding,
        import::RowId,
        words::{Kind, Status},
    },
    store::{
        self,
        edits::{Edits, Mark, NewFailure},
        records::PastRow,
    },
};

/// Records of a page.
const PAGE: u64 = 1_000;

/// The failure of a replacement among those of its record.
const ORDINAL: i64 = 1_003;

/// How far the phase has come.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Position {
    /// The first batch of the round.
    first: i64,
    batch: i64,
    row: i64,
}

/// Finds what the next replacements stand in for.
pub(super) async fn page(job: &Job) -> Result<Page, WorkFault> {
    let (db, key) = (job.imports.db.reader(), job.key());
    let position = match job.position()? {
        Some(position) => position,
        None if job.round() == 1 => return Ok(Page::last(Edits::default())),
        None => {
            let batches = store::batches::of_round(db, key, job.round()).await?;
            let Some(first) = batches.first() else { return Ok(Page::last(Edits::default())) };
            Position { first: first.ordinal, batch: first.ordinal, row: 0 }
        }
    };
    let Position { first, batch, row } = position;
    let rows = store::records::from_batch(db, key, RowId { batch, row }, PAGE).await?;
    let Some(last) = rows.last().map(|row| row.at) else { return Ok(Page::last(Edits::default())) };
    let mut named = named(job, &rows, first).await?;
    let has_key = |row: &&PastRow| !row.source_id.is_empty() && !named.contains_key(&row.at);
    let keys = rows.iter().filter(has_key);
    let keys = keys.map(|row| (row.kind, row.source_id.clone())).collect();
    let mut before: HashMap<(Kind, String), Vec<PastRow>> = HashMap::new();
    for row in store::records::before_batch(db, key, keys, first).await? {
        before.entry((row.kind, row.source_id.clone())).or_default().push(row);
    }
    let (mut edits, mut replaced) = (Edits::default(), HashSet::new());
    for row in rows {
        let before = match named.remove(&row.at) {
            Some(old) => old.map(|old| vec![old]),
            None => before.remove(&(row.kind, row.source_id.clone())),
        };
        judge(&mut edits, &mut replaced, row, before);
    }
    Ok(Page::more(edits, &Position { first, batch: last.batch, row: last.row })?)
}

/// By the place of each replacement that names the token of a record: that record,
/// if it is one of before this round, and no other replacement has named it.
async fn named(
    job: &Job,
    rows: &[PastRow],
    first: i64,
) -> Result<HashMap<RowId, Option<PastRow>>, WorkFault> {
    let (db, key) = (job.imports.db.reader(), job.key());
    let payloads = store::staged::payloads(db, key, rows.iter().map(|row| row.at)).await?;
    let mut tokens: Vec<(RowId, Option<RowId>)> = Vec::new();
    for (at, payload) in payloads {
        let replaces = ImportRecord::decode(payload.as_slice()).unwrap_or_default().replaces;
        if !replaces.is_empty() {
            tokens.push((at, RowId::of_token(&job.name(), &replaces)));
        }
    }
    tokens.sort_unstable();
    let places = tokens.iter().filter_map(|(_, old)| *old).filter(|old| old.batch < first);
    let old = store::records::at_places(db, key, places.collect()).await?;
    let mut old: HashMap<RowId, PastRow> = old.into_iter().map(|old| (old.at, old)).collect();
    let named = |(at, place): (RowId, Option<RowId>)| (at, place.and_then(|at| old.remove(&at)));
    Ok(tokens.into_iter().map(named).collect())
}

/// Judges one replacement by the records that were there before: the one that it
/// names, or those of its key.
fn judge(
    edits: &mut Edits,
    replaced: &mut HashSet<RowId>,
    row: PastRow,
    before: Option<Vec<PastRow>>,
) {
    match before {
        Some(before) if before.iter().any(|old| old.retried) => {
            for old in before.into_iter().filter(|old| old.retried && replaced.insert(old.at)) {
                stand_in(edits, &old);
            }
        }
        Some(_) => skip(edits, row, Finding::not_failed),
        None => skip(edits, row, Finding::not_in_import),
    }
}

/// A record is counted no longer, and asks for nothing.
fn stand_in(edits: &mut Edits, old: &PastRow) {
    edits.tally.shift(old.kind, old.status, Status::Replaced);
    edits.marks.push(Mark { at: old.at, status: Status::Replaced, record_id: None });
    edits.cleared.push(old.at);
    edits.childless.push(old.at);
}

/// A record stands in for nothing: it is listed, and not applied.
fn skip(edits: &mut Edits, row: PastRow, finding: fn(&str) -> Finding) {
    let PastRow { at, kind, source_id, status: before, .. } = row;
    let finding = finding(&source_id);
    let status = Status::Skipped;
    edits.tally.shift(kind, before, status);
    edits.marks.push(Mark { at, status, record_id: None });
    edits.cleared.push(at);
    edits.childless.push(at);
    edits.failures.push(NewFailure { at, ordinal: ORDINAL, kind, source_id, status, finding });
}
