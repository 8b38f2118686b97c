//! Resets the records that are processed again: their previous failures are kept as an
//! attempt, and their other results are removed.

use super::{
    page_context::{Page, PageContext},
    retry_policy::PageError,
};
use crate::{
    domain::{enums::Status, import::ResetPosition},
    store::{
        self,
        edits::{Edits, Reset},
    },
};

/// Records per page.
const PAGE: u64 = 2_000;

/// Resets the next records.
pub(super) async fn page(context: &PageContext) -> Result<Page, PageError> {
    let start = ResetPosition::beginning(false);
    let ResetPosition { all, at } = context.position()?.unwrap_or(start);
    let rows = store::records::to_reset(context.reader(), at, all, PAGE).await?;
    let Some(last) = rows.last().map(|row| row.at) else { return Ok(Page::last(Edits::default())) };
    let mut edits = Edits::default();
    let mut reset = Reset { round: context.round(), rows: Vec::with_capacity(rows.len()) };
    for row in rows {
        let failed = matches!(row.status, Status::Failed | Status::Blocked | Status::Unprocessed);
        edits.counters.shift(row.kind, row.status, Status::Staged);
        reset.rows.push((row.at, failed));
    }
    edits.reset = Some(reset);
    Ok(Page::more(edits, &ResetPosition { all, at: last })?)
}
