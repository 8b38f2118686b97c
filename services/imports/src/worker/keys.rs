//! Checks records that share a key, and resolves which keys are already linked.

use serde::{Deserialize, Serialize};

use super::{
    page_context::{Page, PageContext},
    retry_policy::PageError,
};
use crate::{
    domain::{
        enums::{Kind, Status},
        issue::RecordIssue,
        issue_ordinal,
        verdict::{KeyFacts, KeyVerdict, judge_key},
    },
    records_client::MAX_KEYS,
    store::{
        self,
        edits::{Edits, NewFailure},
        records::{Group, KeyPosition, KeyRow},
    },
};

/// The kinds, in order.
const KINDS: [Kind; 3] = [Kind::Client, Kind::Contact, Kind::Address];

/// The progress within the phase.
#[derive(Clone, Serialize, Deserialize)]
struct Position {
    /// Index into [`KINDS`].
    kind: usize,
    after: KeyPosition,
}

/// Checks the next records of a kind, by key.
pub(super) async fn page(context: &PageContext) -> Result<Page, PageError> {
    let position: Option<Position> = context.position()?;
    if position.is_none() && context.has_applied_before() && !context.validate_only() {
        // Fence off the calls of earlier rounds before asking which keys are linked.
        context.fence_off().await?;
    }
    let start = Position { kind: 0, after: KeyPosition::start() };
    let Position { kind: number, after } = position.unwrap_or(start);
    let Some(kind) = KINDS.get(number).copied() else { return Ok(Page::last(Edits::default())) };
    let (db, round, limit) = (context.reader(), context.round(), MAX_KEYS as u64);
    let rows = store::records::keys_page(db, kind, round, &after, limit).await?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        let next = Position { kind: number + 1, after: KeyPosition::start() };
        return Ok(Page::more(Edits::default(), &next)?);
    };
    let ids = (first.source_id.as_str(), last.source_id.as_str());
    let groups = store::records::groups(db, kind, round, ids).await?;
    let mut requested: Vec<_> = rows.iter().map(|row| (kind, row.source_id.clone())).collect();
    requested.dedup();
    let mut links = context.imports.records.resolve(&context.behalf, requested).await?;
    if !context.has_applied_before() {
        // Links of this import are from a state that its database no longer has: these
        // records are applied again, which is idempotent.
        let own = context.name();
        links.retain(|_, link| link.import_id != own);
    }
    let next = KeyPosition { source_id: last.source_id.clone(), at: last.at };
    let (mut edits, mut previous) = (Edits::default(), after.source_id);
    for row in rows {
        let group = groups.get(&row.source_id).copied();
        let link = links.get(&(kind, row.source_id.clone()));
        let facts = KeyFacts {
            identical: group.is_none_or(|group| group.identical),
            linked: link.is_some(),
            imported_earlier: group.is_some_and(|group| group.imported_earlier),
        };
        let verdict = judge_key(row.status, previous != row.source_id, facts);
        previous.clone_from(&row.source_id);
        let record_id = link.map(|link| link.record_id.clone());
        add(&mut edits, kind, row, verdict, record_id, group);
    }
    Ok(Page::more(edits, &Position { kind: number, after: next })?)
}

fn add(
    edits: &mut Edits,
    kind: Kind,
    row: KeyRow,
    verdict: KeyVerdict,
    record_id: Option<String>,
    group: Option<Group>,
) {
    let KeyRow { at, source_id, status: before } = row;
    let records = group.map_or(1, |group| group.records);
    let (status, record_id, issue) = match verdict {
        KeyVerdict::Unchanged => return,
        KeyVerdict::AlreadyLinked => (Status::Skipped, record_id, None),
        KeyVerdict::Duplicate => (Status::Skipped, None, Some(RecordIssue::duplicate(&source_id))),
        KeyVerdict::Conflict => {
            (Status::Failed, None, Some(RecordIssue::conflicting(&source_id, records)))
        }
    };
    if status == Status::Skipped && before != Status::Ready {
        edits.cleared_failures.push(at);
    }
    if status != before {
        edits.update_status(at, kind, (before, status), record_id);
    }
    let ordinal = issue_ordinal::KEY;
    let failure = |issue| NewFailure { at, ordinal, kind, source_id, status, issue };
    edits.failures.extend(issue.map(failure));
}
