//! Judges the addresses of each owner and type as one timeline.

use serde::{Deserialize, Serialize};
use shared::{pb::records::ErrorReason, rules::date::Period};

use super::{
    job::{Job, Page},
    trouble::WorkFault,
};
use crate::{
    domain::{
        finding::Finding,
        import::RowId,
        periods::{Dated, Place, judge_timeline},
        words::{Kind, Status},
    },
    store::{
        self,
        edits::{Edits, Mark, NewFailure},
        records::TimelineRow,
    },
};

/// Addresses of one owner and type: all of them are in memory at once, and each
/// may overlap each.
const MAX_TIMELINE: usize = 4_000;
/// The failure of a period among those of its record.
const ORDINAL: i64 = 1_002;
/// How a record without a source id is named.
const NAMELESS: &str = "(no source id)";

/// How far the phase has come.
#[derive(Clone, Serialize, Deserialize)]
struct Position {
    timeline: String,
    batch: i64,
    row: i64,
}

/// Judges the next timelines.
pub(super) async fn page(job: &Job) -> Result<Page, WorkFault> {
    let start = || Position { timeline: String::new(), batch: 0, row: 0 };
    let mut position: Position = job.position()?.unwrap_or_else(start);
    let (db, key) = (job.imports.db.reader(), job.key());
    let after = RowId { batch: position.batch, row: position.row };
    let limit = MAX_TIMELINE + 1;
    let rows = store::records::timelines_page(db, key, (&position.timeline, after), limit).await?;
    let full = rows.len() == limit;
    let timelines: Vec<&[TimelineRow]> = rows.chunk_by(|a, b| a.timeline == b.timeline).collect();
    let mut edits = Edits::default();
    for (number, timeline) in timelines.iter().enumerate() {
        let Some(last) = timeline.last() else { continue };
        // Its first rows were on the page before, or the page holds nothing else.
        let too_long = last.timeline == position.timeline || (full && timelines.len() == 1);
        if too_long {
            timeline.iter().for_each(|row| add_failure(&mut edits, row, too_many()));
        } else if full && number + 1 == timelines.len() {
            // The rest of it is on the next page: it is judged there, whole.
            break;
        } else {
            judge(&mut edits, timeline);
        }
        let (timeline, at) = (last.timeline.clone(), last.at);
        position = Position { timeline, batch: at.batch, row: at.row };
    }
    if full { Ok(Page::more(edits, &position)?) } else { Ok(Page::last(edits)) }
}

fn judge(edits: &mut Edits, timeline: &[TimelineRow]) {
    let dated = |row: &TimelineRow| Dated {
        source_id: match row.source_id.as_str() {
            "" => NAMELESS.to_owned(),
            source_id => source_id.to_owned(),
        },
        period: Period::new(row.active_from, row.active_to),
    };
    let rows: Vec<Dated> = timeline.iter().map(dated).collect();
    for (row, place) in timeline.iter().zip(judge_timeline(&rows)) {
        let Place { ends, overlaps, overlaps_more } = place;
        if !overlaps.is_empty() {
            add_failure(edits, row, Finding::overlap(&overlaps, overlaps_more));
        } else if let (Status::Ready, None, Some(day)) = (row.status, row.active_to, ends) {
            edits.ends.push((row.at, day));
        }
    }
}

/// A record that is known already, or was imported in an earlier round, keeps its
/// verdict.
fn add_failure(edits: &mut Edits, row: &TimelineRow, finding: Finding) {
    let TimelineRow { at, source_id, status, .. } = row;
    if matches!(status, Status::Skipped | Status::Imported | Status::Linked) {
        return;
    }
    if *status == Status::Ready {
        edits.tally.shift(Kind::Address, Status::Ready, Status::Failed);
        edits.marks.push(Mark { at: *at, status: Status::Failed, record_id: None });
    }
    edits.failures.push(NewFailure {
        at: *at,
        ordinal: ORDINAL,
        kind: Kind::Address,
        source_id: source_id.clone(),
        status: Status::Failed,
        finding,
    });
}

fn too_many() -> Finding {
    let text = format!("An owner has at most {MAX_TIMELINE} addresses of one type");
    Finding::new("owner_source_id", ErrorReason::ValueTooLong, text)
}
