//! Lets the corrected records of a round stand in for those that failed.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

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
    let keys = rows.iter().filter(|row| !row.source_id.is_empty());
    let keys = keys.map(|row| (row.kind, row.source_id.clone())).collect();
    let mut before: HashMap<(Kind, String), Vec<PastRow>> = HashMap::new();
    for row in store::records::before_batch(db, key, keys, first).await? {
        before.entry((row.kind, row.source_id.clone())).or_default().push(row);
    }
    let mut edits = Edits::default();
    for row in rows {
        let before = before.remove(&(row.kind, row.source_id.clone()));
        judge(&mut edits, row, before);
    }
    Ok(Page::more(edits, &Position { first, batch: last.batch, row: last.row })?)
}

/// Judges one replacement by the records of its key that were there before.
fn judge(edits: &mut Edits, row: PastRow, before: Option<Vec<PastRow>>) {
    match before {
        Some(before) if before.iter().any(|old| old.retried) => {
            for old in before.into_iter().filter(|old| old.retried) {
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
