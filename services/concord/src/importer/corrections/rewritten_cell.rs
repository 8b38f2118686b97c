//! Cells of a corrected file that a spreadsheet converted.

use std::fmt;

use crate::importer::spreadsheet::CellConversion;

/// The maximum number of listed cells.
const MAX_LISTED: usize = 50;

/// A cell that a spreadsheet converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RewrittenCell {
    /// The file and the line.
    pub(super) location: String,
    pub(super) column: &'static str,
    pub(super) was: String,
    pub(super) is: String,
    pub(super) what: CellConversion,
}

impl fmt::Display for RewrittenCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location, column, was, is, .. } = self;
        write!(f, "{location}, {column}: `{was}` was changed to `{is}`")
    }
}

/// The remark about converted cells; none when there are none.
pub(crate) fn remarks(rewritten: &[RewrittenCell]) -> Option<String> {
    let is_code_page = |cell: &RewrittenCell| cell.what == CellConversion::CodePage;
    let mut text =
        "a spreadsheet has converted values; those of the failures file are used. Format \
                    such columns as text before you save the file."
            .to_owned();
    if rewritten.iter().any(is_code_page) {
        text += " Open it as a file in UTF-8, and save it as “CSV UTF-8”.";
    }
    text += " To keep a converted value, name its column in the column `changed` of its row:";
    let cells = rewritten.iter().take(MAX_LISTED).map(|cell| format!("\n  {cell}"));
    text.extend(cells);
    let more = rewritten.len().saturating_sub(MAX_LISTED);
    text.extend((more > 0).then(|| format!("\n  and {more} more")));
    (!rewritten.is_empty()).then_some(text)
}
