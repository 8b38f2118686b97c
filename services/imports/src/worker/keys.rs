//! Judges the records that share a key, and asks which keys are known already.

use serde::{Deserialize, Serialize};

use super::{
    job::{Job, Page},
    trouble::WorkFault,
};
use crate::{
    domain::{
        finding::Finding,
        verdict::{KeyFacts, KeyVerdict, judge_key},
        words::{Kind, Status},
    },
    records_client::MAX_KEYS,
    store::{
        self,
        edits::{Edits, Mark, NewFailure},
        records::{Group, KeyPosition, KeyRow},
    },
};

/// The failure of a key among those of its record: after its own.
const ORDINAL: i64 = 1_000;

/// The kinds, one after the other.
const KINDS: [Kind; 3] = [Kind::Client, Kind::Contact, Kind::Address];

/// How far the phase has come.
#[derive(Clone, Serialize, Deserialize)]
struct Position {
    /// The place of the kind in [`KINDS`].
    kind: usize,
    after: KeyPosition,
}

/// Judges the next records of a kind, by key.
pub(super) async fn page(job: &Job) -> Result<Page, WorkFault> {
    let position: Option<Position> = job.position()?;
    if position.is_none() && job.has_applied_before() && !job.validate_only() {
        // What an earlier round has sent is applied now, or never: what is known is
        // asked below.
        job.fence_off().await?;
    }
    let start = Position { kind: 0, after: KeyPosition::start() };
    let Position { kind: number, after } = position.unwrap_or(start);
    let Some(kind) = KINDS.get(number).copied() else { return Ok(Page::last(Edits::default())) };
    let (db, key) = (job.imports.db.reader(), job.key());
    let (round, limit) = (job.round(), MAX_KEYS as u64);
    let rows = store::records::keys_page(db, key, kind, round, &after, limit).await?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        let next = Position { kind: number + 1, after: KeyPosition::start() };
        return Ok(Page::more(Edits::default(), &next)?);
    };
    let ids = (first.source_id.as_str(), last.source_id.as_str());
    let groups = store::records::groups(db, key, kind, round, ids).await?;
    let mut asked: Vec<_> = rows.iter().map(|row| (kind, row.source_id.clone())).collect();
    asked.dedup();
    let mut links = job.imports.records.resolve(&job.behalf, asked).await?;
    if !job.has_applied_before() {
        // Its own links are from a state that its database does not have any more:
        // these records are applied again, and answered as the first time.
        let own = job.name();
        links.retain(|_, link| link.import_id != own);
    }
    let at = last.at;
    let next = KeyPosition { source_id: last.source_id.clone(), batch: at.batch, row: at.row };
    let (mut edits, mut before) = (Edits::default(), after.source_id);
    for row in rows {
        let group = groups.get(&row.source_id).copied();
        let link = links.get(&(kind, row.source_id.clone()));
        let facts = KeyFacts {
            alike: group.is_none_or(|group| group.alike),
            linked: link.is_some(),
            earlier: group.is_some_and(|group| group.earlier),
        };
        let verdict = judge_key(row.status, before != row.source_id, facts);
        before.clone_from(&row.source_id);
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
    let (status, record_id, finding) = match verdict {
        KeyVerdict::Stands => return,
        KeyVerdict::Known => (Status::Skipped, record_id, None),
        KeyVerdict::Repeated => (Status::Skipped, None, Some(Finding::repeated(&source_id))),
        KeyVerdict::Contradicts => {
            (Status::Failed, None, Some(Finding::contradicts(&source_id, records)))
        }
    };
    if status == Status::Skipped && before != Status::Ready {
        edits.cleared.push(at);
    }
    if status != before {
        edits.tally.shift(kind, before, status);
        edits.marks.push(Mark { at, status, record_id });
    }
    let failure = |finding| NewFailure { at, ordinal: ORDINAL, kind, source_id, status, finding };
    edits.failures.extend(finding.map(failure));
}
