//! Puts the records back that are processed again: what was found of them before
//! is kept as an attempt, and forgotten otherwise.

use serde::{Deserialize, Serialize};

use super::{
    job::{Job, Page},
    trouble::WorkFault,
};
use crate::{
    domain::{import::RowId, words::Status},
    store::{
        self,
        edits::{Edits, Reset},
    },
};

/// Records of a page.
const PAGE: u64 = 2_000;

/// How far the phase has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Whether all records are processed again: those of an import that was only
    /// checked have no verdict that counts.
    pub(crate) all: bool,
    batch: i64,
    row: i64,
}

impl Position {
    /// As an import keeps it.
    pub(crate) fn to_json(self) -> String {
        serde_json::to_string(&self).unwrap_or_default()
    }

    /// The beginning of the phase.
    pub(crate) fn beginning(all: bool) -> Self {
        Self { all, batch: 0, row: 0 }
    }
}

/// Puts the next records back.
pub(super) async fn page(job: &Job) -> Result<Page, WorkFault> {
    let Position { all, batch, row } = job.position()?.unwrap_or(Position::beginning(false));
    let (db, key) = (job.imports.db.reader(), job.key());
    let rows = store::records::to_reset(db, key, RowId { batch, row }, all, PAGE).await?;
    let Some(last) = rows.last().map(|row| row.at) else { return Ok(Page::last(Edits::default())) };
    let mut edits = Edits::default();
    let mut reset = Reset { round: job.round(), rows: Vec::with_capacity(rows.len()) };
    for row in rows {
        let failed = matches!(row.status, Status::Failed | Status::Blocked | Status::Unprocessed);
        edits.tally.shift(row.kind, row.status, Status::Staged);
        reset.rows.push((row.at, failed));
    }
    edits.reset = Some(reset);
    Ok(Page::more(edits, &Position { all, batch: last.batch, row: last.row })?)
}
