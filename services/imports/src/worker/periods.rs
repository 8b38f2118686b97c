//! Checks the addresses of each owner and type as one timeline.

use concord_core::rules::date::Period;
use serde::{Deserialize, Serialize};

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
        periods::{DatedAddress, ResolvedPeriod, judge_timeline},
    },
    store::{
        self,
        edits::{Edits, NewFailure},
        records::TimelineRow,
    },
};

/// Limit on the addresses of one owner and type: they are in memory together, and are
/// compared pairwise in the worst case.
const MAX_TIMELINE: usize = 4_000;
/// The name of a record without a source id.
const NO_SOURCE_ID: &str = "(no source id)";

/// The progress within the phase.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Position {
    timeline: String,
    #[serde(flatten)]
    at: RowId,
}

/// Checks the next timelines.
pub(super) async fn page(context: &PageContext) -> Result<Page, PageError> {
    let mut position: Position = context.position()?.unwrap_or_default();
    let (db, limit) = (context.reader(), MAX_TIMELINE + 1);
    let after = (position.timeline.as_str(), position.at);
    let rows = store::records::timelines_page(db, after, limit).await?;
    let full = rows.len() == limit;
    let timelines: Vec<&[TimelineRow]> = rows.chunk_by(|a, b| a.timeline == b.timeline).collect();
    let mut edits = Edits::default();
    for (number, timeline) in timelines.iter().enumerate() {
        let Some(last) = timeline.last() else { continue };
        // The timeline started on the previous page, or fills the whole page.
        let too_long = last.timeline == position.timeline || (full && timelines.len() == 1);
        if too_long {
            let issue = RecordIssue::too_many_addresses(MAX_TIMELINE);
            timeline.iter().for_each(|row| add_failure(&mut edits, row, issue.clone()));
        } else if full && number + 1 == timelines.len() {
            // The timeline continues on the next page, which checks it as a whole.
            break;
        } else {
            check(&mut edits, timeline);
        }
        position = Position { timeline: last.timeline.clone(), at: last.at };
    }
    if full { Ok(Page::more(edits, &position)?) } else { Ok(Page::last(edits)) }
}

fn check(edits: &mut Edits, timeline: &[TimelineRow]) {
    let dated = |row: &TimelineRow| DatedAddress {
        source_id: match row.source_id.as_str() {
            "" => NO_SOURCE_ID.to_owned(),
            source_id => source_id.to_owned(),
        },
        period: Period::new(row.active_from, row.active_to),
    };
    let rows: Vec<DatedAddress> = timeline.iter().map(dated).collect();
    for (row, resolved) in timeline.iter().zip(judge_timeline(&rows)) {
        let ResolvedPeriod { ends, overlaps, overlaps_more } = resolved;
        if !overlaps.is_empty() {
            add_failure(edits, row, RecordIssue::overlap(&overlaps, overlaps_more));
        } else if let (Status::Ready, None, Some(day)) = (row.status, row.active_to, ends) {
            edits.period_ends.push((row.at, day));
        }
    }
}

/// Records that are linked or imported already keep their verdict.
fn add_failure(edits: &mut Edits, row: &TimelineRow, issue: RecordIssue) {
    let TimelineRow { at, source_id, status, .. } = row;
    if matches!(status, Status::Skipped | Status::Imported | Status::Linked) {
        return;
    }
    if *status == Status::Ready {
        edits.update_status(*at, Kind::Address, (Status::Ready, Status::Failed), None);
    }
    edits.failures.push(NewFailure {
        at: *at,
        ordinal: issue_ordinal::PERIOD,
        kind: Kind::Address,
        source_id: source_id.clone(),
        status: Status::Failed,
        issue,
    });
}
