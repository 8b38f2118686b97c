//! The cells of a corrected row that a spreadsheet has rewritten.

use std::fmt;

use crate::{
    csv_source::FailedRow,
    spreadsheet::{Rewriting, rewriting},
};

/// So many cells are named.
const NAMED: usize = 10;

/// A cell that a spreadsheet has rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// The file and the line.
    place: String,
    pub(super) column: &'static str,
    was: String,
    is: String,
    what: Rewriting,
}

impl Rewritten {
    /// Whether it is a date.
    pub(crate) fn is_date(&self) -> bool {
        self.what == Rewriting::Date
    }
}

impl fmt::Display for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, column, was, is, .. } = self;
        write!(f, "{place}, {column}: `{was}` has become `{is}`")
    }
}

/// What is told of rewritten cells; nothing when there are none.
pub(crate) fn remarks(rewritten: &[Rewritten]) -> Vec<String> {
    let (dates, numbers): (Vec<_>, Vec<_>) = rewritten.iter().partition(|cell| cell.is_date());
    let numbers = (!numbers.is_empty()).then(|| {
        format!(
            "a spreadsheet has taken values for numbers; those of the failures file are used. \
             Format such columns as text before you save the file:\n{}",
            listed(&numbers)
        )
    });
    let dates = (!dates.is_empty()).then(|| {
        format!(
            "a spreadsheet has rewritten dates; nothing else was changed in these records, and \
             they are tried again as they were. Write dates as 2026-03-01, in a column that is \
             formatted as text:\n{}",
            listed(&dates)
        )
    });
    numbers.into_iter().chain(dates).collect()
}

/// The first of these cells, a line each, and how many more there are.
pub(super) fn listed(cells: &[&Rewritten]) -> String {
    let mut lines: Vec<_> = cells.iter().take(NAMED).map(|cell| format!("  {cell}")).collect();
    if cells.len() > NAMED {
        lines.push(format!("  and {} more", cells.len() - NAMED));
    }
    lines.join("\n")
}

/// A corrected row beside an original one.
pub(super) struct Compared {
    /// The row as it is to be sent, when a person has changed it.
    pub(super) changed: Option<FailedRow>,
    pub(super) rewritten: Vec<Rewritten>,
}

/// Compares a corrected row with an original one of the same record. Numbers get
/// back what they lost: nobody takes the zeros of an identifier away on purpose. A
/// date does not, because `03/01/2021` may be another day that somebody typed.
pub(super) fn compared(original: &FailedRow, row: &FailedRow) -> anyhow::Result<Compared> {
    let cells = original.fields().zip(row.fields());
    let rewritten = cells.filter_map(|((column, was), (_, is))| {
        let what = rewriting(&was, &is)?;
        Some(Rewritten { place: row.place(), column, was, is, what })
    });
    let rewritten: Vec<_> = rewritten.collect();
    let restored = |dates: bool| {
        let cells = rewritten.iter().filter(|cell| dates || !cell.is_date());
        let values: Vec<_> = cells.map(|cell| (cell.column, &*cell.was)).collect();
        if values.is_empty() { Ok(row.clone()) } else { row.with(&values) }
    };
    let is_original = restored(true)?.record == original.record;
    let changed = if is_original { None } else { Some(restored(false)?) };
    Ok(Compared { changed, rewritten })
}
