//! CSV in UTF-8, with a line feed after each line. A byte order mark comes first:
//! without it, a spreadsheet reads the file in the code page of the system.
//!
//! A spreadsheet evaluates a cell that begins with certain characters as a formula.
//! Such a cell gets an apostrophe as prefix, and the column `guarded` lists the guarded
//! columns of the line, so that a reader removes exactly these prefixes.
//!
//! A terminal interprets control characters. A cell that contains any is escaped by
//! [`list_cell::escape_control`], and the column `escaped` lists it.

use bytes::Bytes;
use concord_core::list_cell;

use super::{
    FileWriter,
    columns::{COLUMNS, Line},
};
use crate::error::ImportError;

/// Prefixes that a spreadsheet evaluates as a formula; in some locales also their
/// full-width forms.
const FORMULA_PREFIXES: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The column that lists the guarded columns.
const GUARDED: &str = "guarded";

/// The column that lists the columns with escaped control characters.
const ESCAPED: &str = "escaped";

/// Writes CSV.
#[derive(Debug)]
pub(crate) struct Csv {
    written: Vec<u8>,
    has_header: bool,
}

impl Csv {
    /// An empty file; the header row is written first.
    pub(crate) fn new() -> Self {
        Self { written: Vec::new(), has_header: false }
    }

    fn record<'c>(&mut self, cells: impl Iterator<Item = &'c str>) -> Result<(), ImportError> {
        let mut writer = csv::Writer::from_writer(&mut self.written);
        let written = writer.write_record(cells);
        written
            .and_then(|()| writer.flush().map_err(csv::Error::from))
            // Writing to memory does not fail.
            .map_err(|_| ImportError::Corrupt("line of the failures file"))
    }

    fn write_header(&mut self) -> Result<(), ImportError> {
        if !self.has_header {
            self.has_header = true;
            self.written.extend_from_slice(BYTE_ORDER_MARK);
            self.record(COLUMNS.into_iter())?;
        }
        Ok(())
    }
}

impl FileWriter for Csv {
    fn write(&mut self, line: &Line) -> Result<(), ImportError> {
        self.write_header()?;
        let cells = escape_cells(line);
        self.record(COLUMNS.iter().map(|column| {
            let cell = cells.iter().find(|(name, _)| name == column);
            cell.map_or("", |(_, value)| value.as_str())
        }))
    }

    fn take(&mut self) -> Bytes {
        // A file without lines has a header row.
        let _ = self.write_header();
        std::mem::take(&mut self.written).into()
    }
}

/// The cells of a line, escaped and guarded, with the lists of both.
fn escape_cells(line: &Line) -> Vec<(&'static str, String)> {
    let (mut guarded, mut escaped): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut cells: Vec<(&str, String)> = Vec::new();
    for (column, value) in line.cells() {
        let visible = list_cell::escape_control(value);
        if visible.is_some() {
            escaped.push(column);
        }
        let mut value = visible.unwrap_or_else(|| value.to_owned());
        if value.starts_with(FORMULA_PREFIXES) {
            guarded.push(column);
            value.insert(0, '\'');
        }
        cells.push((column, value));
    }
    cells.push((GUARDED, guarded.join(";")));
    cells.push((ESCAPED, escaped.join(";")));
    cells
}

#[cfg(test)]
mod tests;
