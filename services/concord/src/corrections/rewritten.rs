//! The cells of a corrected row that a spreadsheet has rewritten.

use std::fmt;

use crate::spreadsheet::Rewriting;

/// So many cells are named.
const NAMED: usize = 50;

/// A cell that a spreadsheet has rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// The file and the line.
    pub(super) place: String,
    pub(super) column: &'static str,
    pub(super) was: String,
    pub(super) is: String,
    pub(super) what: Rewriting,
}

impl fmt::Display for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, column, was, is, .. } = self;
        write!(f, "{place}, {column}: `{was}` has become `{is}`")
    }
}

/// What is told of rewritten cells; nothing when there are none.
pub(crate) fn remarks(rewritten: &[Rewritten]) -> Option<String> {
    let is_of_page = |cell: &Rewritten| cell.what == Rewriting::CodePage;
    let mut text = "a spreadsheet has changed values; those of the failures file are used. Format \
                    such columns as text before you save the file."
        .to_owned();
    if rewritten.iter().any(is_of_page) {
        text += " Open it as a file in UTF-8, and save it as “CSV UTF-8”.";
    }
    text += " A value that you mean counts when the column `changed` of its row names its column:";
    let cells = rewritten.iter().take(NAMED).map(|cell| format!("\n  {cell}"));
    text.extend(cells);
    let more = rewritten.len().saturating_sub(NAMED);
    text.extend((more > 0).then(|| format!("\n  and {more} more")));
    (!rewritten.is_empty()).then_some(text)
}
