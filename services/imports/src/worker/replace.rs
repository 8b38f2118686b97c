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
        edits::{Edits, Mark, NewFailure, REPLACES_NOTHING},
        records::PastRow,
    },
};

/// Records of a page.
const PAGE: u64 = 1_000;

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
    let has_key = |row: &&PastRow| !row.source_id.is_empty();
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
    let uploads = uploads(&batches);
    let mut edits = Edits::default();
    for row in rows {
        let upload = uploads.get(&row.at.batch).copied();
        let upload = upload.unwrap_or(Upload { first: row.at.batch, round: job.round() });
        let of_key = of_key.get(&(row.kind, row.source_id.clone()));
        let of_key = of_key.map_or(&[][..], Vec::as_slice);
        let named = named.get(&row.at).map(Option::as_slice);
        let is_twin = |other: &RowId| upload.first <= other.batch && *other < row.at;
        let candidates = Candidates {
            places: named.unwrap_or(of_key),
            upload,
            is_sole: named.is_some() && !of_key.iter().any(is_twin),
        };
        judge(&mut edits, row, &candidates, &mut before, (job.round(), first));
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

/// When a batch was uploaded.
#[derive(Clone, Copy)]
struct Upload {
    /// The first batch of its round.
    first: i64,
    round: i64,
}

/// What a replacement may replace.
struct Candidates<'p> {
    /// The record that it names, or those with its key.
    places: &'p [RowId],
    /// Of the replacement. It replaces records of earlier rounds only.
    upload: Upload,
    /// It names a record, and no replacement before it in its round has its key.
    is_sole: bool,
}

/// When the batches of retries, given with their rounds, were uploaded.
fn uploads(batches: &[(i64, i64)]) -> HashMap<i64, Upload> {
    let rounds = batches.chunk_by(|(_, one), (_, other)| one == other);
    let of_round = |batches: &[(i64, i64)]| {
        let first = batches.first().map(|(ordinal, _)| *ordinal);
        let upload = |(ordinal, round): &(i64, i64)| {
            first.map(|first| (*ordinal, Upload { first, round: *round }))
        };
        batches.iter().filter_map(upload).collect::<Vec<_>>()
    };
    rounds.flat_map(of_round).collect()
}

/// Matches one replacement with the records that it may replace. Several replacements
/// of a round with one key may replace one record: which of them counts is decided by
/// their key, as in the first round. A record that an earlier round has replaced, or
/// in this round a replacement with another key, is not there to be replaced again.
fn judge(
    edits: &mut Edits,
    row: PastRow,
    candidates: &Candidates<'_>,
    before: &mut HashMap<RowId, PastRow>,
    (round, first): (i64, i64),
) {
    let Candidates { places, upload, is_sole } = candidates;
    let (mut stands_in, mut stays, mut replaced) = (false, false, false);
    for place in places.iter().filter(|old| old.batch < upload.first) {
        let Some(old) = before.get_mut(place) else { continue };
        let is_again = old.round == round && (old.retried || old.at.batch >= first);
        if old.status == Status::Replaced {
            let is_by_another = *is_sole && old.round == round;
            if old.round < upload.round || is_by_another {
                stays = true;
            } else {
                replaced = true;
            }
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
    edits.failures.push(NewFailure {
        at,
        ordinal: REPLACES_NOTHING,
        kind,
        source_id,
        status,
        finding,
    });
}
