//! Matches the corrected records of a round with the failed records that they replace.

use std::collections::HashMap;

use concord_proto::pb::imports::ImportRecord;
use prost::Message as _;

use super::{
    page_context::{Page, PageContext},
    retry_policy::PageError,
};
use crate::{
    domain::{
        enums::{Kind, Status},
        import::RowId,
        issue::RecordIssue,
        issue_ordinal,
    },
    store::{
        self,
        edits::{Edits, NewFailure},
        records::RecordRow,
    },
};

/// Records per page.
const PAGE: u64 = 1_000;

/// Finds the records that the next replacements replace. Replacements of an earlier
/// round that are processed again are included, because that round may have ended
/// before it reached them.
pub(super) async fn page(context: &PageContext) -> Result<Page, PageError> {
    let db = context.reader();
    if context.round() == 1 {
        return Ok(Page::last(Edits::default()));
    }
    let batches = store::batches::of_retries(db).await?;
    let Some(first) = batches.first().map(|(ordinal, _)| *ordinal) else {
        return Ok(Page::last(Edits::default()));
    };
    let after = context.position()?.unwrap_or(RowId { batch: first, row: 0 });
    let rows = store::records::page_after(db, after, PAGE).await?;
    let Some(last) = rows.last().map(|row| row.at) else { return Ok(Page::last(Edits::default())) };
    let rows = rows.into_iter().filter(|row| {
        row.round == context.round() && !matches!(row.status, Status::Replaced | Status::Skipped)
    });
    let rows: Vec<RecordRow> = rows.collect();
    let by_token = by_token(context, &rows).await?;
    let has_key = |row: &&RecordRow| !row.source_id.is_empty();
    let keys = rows.iter().filter(has_key).map(|row| (row.kind, row.source_id.clone()));
    let mut before: HashMap<RowId, RecordRow> = HashMap::new();
    let mut by_key: HashMap<(Kind, String), Vec<RowId>> = HashMap::new();
    for row in store::records::by_keys(db, keys.collect()).await? {
        by_key.entry((row.kind, row.source_id.clone())).or_default().push(row.at);
        before.insert(row.at, row);
    }
    let row_ids: Vec<RowId> = by_token.values().flatten().copied().collect();
    for row in store::records::by_row_ids(db, row_ids).await? {
        before.entry(row.at).or_insert(row);
    }
    let uploads = uploads(&batches);
    let mut edits = Edits::default();
    for row in rows {
        let upload = uploads.get(&row.at.batch).copied();
        let upload = upload.unwrap_or(Upload { first: row.at.batch, round: context.round() });
        let by_key = by_key.get(&(row.kind, row.source_id.clone()));
        let by_key = by_key.map_or(&[][..], Vec::as_slice);
        let by_token = by_token.get(&row.at).map(Option::as_slice);
        let has_same_key = |other: &RowId| upload.first <= other.batch && *other < row.at;
        let candidates = Candidates {
            row_ids: by_token.unwrap_or(by_key),
            upload,
            is_only_claim: by_token.is_some() && !by_key.iter().any(has_same_key),
        };
        match_replacement(&mut edits, row, &candidates, &mut before, (context.round(), first));
    }
    Ok(Page::more(edits, &last)?)
}

/// The row ids that replacements refer to by a row token, by the row id of the
/// replacement; `None` if the token is not of the import.
async fn by_token(
    context: &PageContext,
    rows: &[RecordRow],
) -> Result<HashMap<RowId, Option<RowId>>, PageError> {
    let import = context.name();
    let row_ids = rows.iter().map(|row| row.at);
    let payloads = store::staged::payloads(context.reader(), row_ids).await?;
    let by_token = payloads.into_iter().filter_map(|(at, payload)| {
        let replaces = ImportRecord::decode(payload.as_slice()).unwrap_or_default().replaces;
        (!replaces.is_empty()).then(|| (at, RowId::of_token(&import, &replaces)))
    });
    Ok(by_token.collect())
}

/// The round of a batch.
#[derive(Clone, Copy)]
struct Upload {
    /// The first batch of the round.
    first: i64,
    round: i64,
}

/// The records that a replacement may replace.
struct Candidates<'p> {
    /// The record of its row token, or the records with its key.
    row_ids: &'p [RowId],
    /// The round of the replacement. It replaces only records of earlier rounds.
    upload: Upload,
    /// It has a row token, and no earlier replacement of its round has its key.
    is_only_claim: bool,
}

/// The rounds of the batches of retries.
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

/// Matches one replacement with its candidates. Several replacements of a round with
/// one key may replace one record; the check of keys then decides between them, as in
/// the first round. A record cannot be replaced again if an earlier round has replaced
/// it, or a replacement with another key in this round.
fn match_replacement(
    edits: &mut Edits,
    row: RecordRow,
    candidates: &Candidates<'_>,
    before: &mut HashMap<RowId, RecordRow>,
    (round, first): (i64, i64),
) {
    let Candidates { row_ids, upload, is_only_claim } = candidates;
    let (mut has_match, mut is_not_failed, mut replaced) = (false, false, false);
    for row_id in row_ids.iter().filter(|old| old.batch < upload.first) {
        let Some(old) = before.get_mut(row_id) else { continue };
        let is_again = old.round == round && (old.retried || old.at.batch >= first);
        if old.status == Status::Replaced {
            let is_by_another = *is_only_claim && old.round == round;
            if old.round < upload.round || is_by_another {
                is_not_failed = true;
            } else {
                replaced = true;
            }
        } else if is_again {
            mark_replaced(edits, old);
            old.status = Status::Replaced;
            has_match = true;
        } else {
            is_not_failed = true;
        }
    }
    if has_match {
        return;
    }
    if is_not_failed {
        skip(edits, row, RecordIssue::not_failed);
    } else if !replaced {
        skip(edits, row, RecordIssue::not_in_import);
    }
}

/// Marks a record as replaced: it is no longer counted or resolved.
fn mark_replaced(edits: &mut Edits, old: &RecordRow) {
    edits.update_status(old.at, old.kind, (old.status, Status::Replaced), None);
    edits.cleared_failures.push(old.at);
    edits.cleared_parents.push(old.at);
}

/// Skips a replacement that replaces nothing: it is listed, and not applied.
fn skip(edits: &mut Edits, row: RecordRow, issue: fn(&str) -> RecordIssue) {
    let RecordRow { at, kind, source_id, status: before, .. } = row;
    let issue = issue(&source_id);
    let status = Status::Skipped;
    edits.update_status(at, kind, (before, status), None);
    edits.cleared_failures.push(at);
    edits.cleared_parents.push(at);
    edits.failures.push(NewFailure {
        at,
        ordinal: issue_ordinal::REPLACES_NOTHING,
        kind,
        source_id,
        status,
        issue,
    });
}
