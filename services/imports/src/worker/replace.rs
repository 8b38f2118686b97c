//! Lets the corrected records of a round stand in for those that failed.

use std::collections::{HashMap, HashSet};

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
    batch: i64,
    row: i64,
}

/// Finds what the next replacements stand in for. Those of an earlier round are
/// looked at too, when they are processed again: that round may have ended before it
/// came to them.
pub(super) async fn page(job: &Job) -> Result<Page, WorkFault> {
    let (db, key) = (job.imports.db.reader(), job.key());
    if job.round() == 1 {
        return Ok(Page::last(Edits::default()));
    }
    let batches = store::batches::of_retries(db, key).await?;
    let Some(first) = batches.first().map(|(ordinal, _)| *ordinal) else {
        return Ok(Page::last(Edits::default()));
    };
    let Position { batch, row } = job.position()?.unwrap_or(Position { batch: first, row: 0 });
    let rows = store::records::from_batch(db, key, RowId { batch, row }, PAGE).await?;
    let Some(last) = rows.last().map(|row| row.at) else { return Ok(Page::last(Edits::default())) };
    let rows = rows.into_iter().filter(|row| {
        row.round == job.round() && !matches!(row.status, Status::Replaced | Status::Skipped)
    });
    let rows: Vec<PastRow> = rows.collect();
    let keys: HashSet<_> = rows
        .iter()
        .filter(|row| !row.source_id.is_empty())
        .map(|row| (row.kind, row.source_id.clone()))
        .collect();
    let mut before: HashMap<(Kind, String), Vec<PastRow>> = HashMap::new();
    for row in store::records::of_keys(db, key, keys).await? {
        before.entry((row.kind, row.source_id.clone())).or_default().push(row);
    }
    let firsts = first_batches(&batches);
    let mut edits = Edits::default();
    for row in rows {
        let first_of_round = firsts.get(&row.at.batch).copied().unwrap_or(row.at.batch);
        let before = before.get_mut(&(row.kind, row.source_id.clone()));
        let before = before.map(|rows| rows.iter_mut().filter(|old| old.at.batch < first_of_round));
        let is_again =
            |old: &PastRow| old.round == job.round() && (old.retried || old.at.batch >= first);
        judge(&mut edits, row, before.into_iter().flatten(), is_again);
    }
    Ok(Page::more(edits, &Position { batch: last.batch, row: last.row })?)
}

/// The first batch of the round of each batch.
fn first_batches(batches: &[(i64, i64)]) -> HashMap<i64, i64> {
    let rounds = batches.chunk_by(|(_, one), (_, other)| one == other);
    let of_round = |round: &[(i64, i64)]| {
        let first = round.first().map(|(ordinal, _)| *ordinal);
        let batches: Vec<_> = round.iter().map(|(ordinal, _)| *ordinal).collect();
        batches.into_iter().filter_map(move |ordinal| Some((ordinal, first?)))
    };
    rounds.flat_map(of_round).collect()
}

/// Judges one replacement by the records of its key that were there before its round.
/// Where it stands in for one, so do all others of its round: which of them counts is
/// judged by their key, as in the first round.
fn judge<'r>(
    edits: &mut Edits,
    row: PastRow,
    before: impl Iterator<Item = &'r mut PastRow>,
    is_again: impl Fn(&PastRow) -> bool,
) {
    let (mut stands_in, mut stays, mut replaced) = (false, false, false);
    for old in before {
        if old.status == Status::Replaced {
            replaced = true;
        } else if is_again(old) {
            stand_in(edits, old);
            old.status = Status::Replaced;
            stands_in = true;
        } else {
            stays = true;
        }
    }
    if stands_in {
        return;
    }
    if stays {
        skip(edits, row, Finding::not_failed);
    } else if !replaced {
        skip(edits, row, Finding::not_in_import);
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
