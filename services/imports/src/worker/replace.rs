//! Lets the corrected records of a round stand in for those that failed.

use std::collections::HashMap;

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
    batch: i64,
    row: i64,
}

/// Finds the records that the next replacements replace. Replacements of an earlier
/// round that are processed again are included: that round may have ended before it
/// reached them.
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
    let named = named(job, &rows).await?;
    let has_key = |row: &&PastRow| !row.source_id.is_empty() && !named.contains_key(&row.at);
    let keys = rows.iter().filter(has_key).map(|row| (row.kind, row.source_id.clone()));
    let mut before: HashMap<RowId, PastRow> = HashMap::new();
    let mut of_key: HashMap<(Kind, String), Vec<RowId>> = HashMap::new();
    for row in store::records::of_keys(db, key, keys.collect()).await? {
        of_key.entry((row.kind, row.source_id.clone())).or_default().push(row.at);
        before.insert(row.at, row);
    }
    let places: Vec<RowId> = named.values().flatten().copied().collect();
    for row in store::records::at_places(db, key, places).await? {
        before.entry(row.at).or_insert(row);
    }
    let firsts = first_batches(&batches);
    let mut edits = Edits::default();
    for row in rows {
        let first_of_round = firsts.get(&row.at.batch).copied().unwrap_or(row.at.batch);
        let places = match named.get(&row.at) {
            Some(place) => place.as_slice(),
            None => of_key.get(&(row.kind, row.source_id.clone())).map_or(&[][..], Vec::as_slice),
        };
        let places = places.iter().filter(|old| old.batch < first_of_round);
        judge(&mut edits, row, places, &mut before, (job.round(), first));
    }
    Ok(Page::more(edits, &Position { batch: last.batch, row: last.row })?)
}

/// The places of the records that replacements name by a token, by the place of the
/// replacement; none for a token that names no record of the import.
async fn named(job: &Job, rows: &[PastRow]) -> Result<HashMap<RowId, Option<RowId>>, WorkFault> {
    let (db, key, import) = (job.imports.db.reader(), job.key(), job.name());
    let payloads = store::staged::payloads(db, key, rows.iter().map(|row| row.at)).await?;
    let named = payloads.into_iter().filter_map(|(at, payload)| {
        let replaces = ImportRecord::decode(payload.as_slice()).unwrap_or_default().replaces;
        (!replaces.is_empty()).then(|| (at, RowId::of_token(&import, &replaces)))
    });
    Ok(named.collect())
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

/// Matches one replacement with the records at the places that it may replace: the one
/// that it names, or those with its key, from before its round. Several replacements
/// of a round may replace one record: which of them counts is decided by their key, as
/// in the first round.
fn judge<'p>(
    edits: &mut Edits,
    row: PastRow,
    places: impl Iterator<Item = &'p RowId>,
    before: &mut HashMap<RowId, PastRow>,
    (round, first): (i64, i64),
) {
    let (mut stands_in, mut stays, mut replaced) = (false, false, false);
    for place in places {
        let Some(old) = before.get_mut(place) else { continue };
        let is_again = old.round == round && (old.retried || old.at.batch >= first);
        if old.status == Status::Replaced {
            replaced = true;
        } else if is_again {
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
