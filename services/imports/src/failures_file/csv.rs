//! Comma-separated values, in UTF-8, a line feed after each line. A byte order mark
//! comes first: without it, a spreadsheet reads the file in the code page of the
//! system.
//!
//! A spreadsheet runs a cell that begins with one of a few characters. Such a
//! cell gets an apostrophe before it, and the column `guarded` names all columns
//! of the line that got one: so it can be taken away again, once, where it was
//! put, and nowhere else.
//!
//! A terminal obeys control characters. A cell with such is written as
//! [`cells::visible`] does, and the column `escaped` names it.

use bytes::Bytes;
use shared::cells;

use super::{
    FileWriter,
    columns::{COLUMNS, Line},
};
use crate::error::ImportError;

/// What a spreadsheet takes for the beginning of a formula; in some languages also in
/// the wide form.
const DANGEROUS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The column that says which others are guarded.
const GUARDED: &str = "guarded";

/// The column that says in which others control characters are escaped.
const ESCAPED: &str = "escaped";

/// Writes CSV.
#[derive(Debug)]
pub(crate) struct Csv {
    written: Vec<u8>,
    headed: bool,
}

impl Csv {
    /// A file that begins with its heading.
    pub(crate) fn new() -> Self {
        Self { written: Vec::new(), headed: false }
    }

    fn record<'c>(&mut self, cells: impl Iterator<Item = &'c str>) -> Result<(), ImportError> {
        let mut writer = csv::Writer::from_writer(&mut self.written);
        let written = writer.write_record(cells);
        written
            .and_then(|()| writer.flush().map_err(csv::Error::from))
            // Memory takes all there is.
            .map_err(|_| ImportError::Corrupt("a line of a file"))
    }

    fn head(&mut self) -> Result<(), ImportError> {
        if !self.headed {
            self.headed = true;
            self.written.extend_from_slice(BYTE_ORDER_MARK);
            self.record(COLUMNS.into_iter())?;
        }
        Ok(())
    }
}

impl FileWriter for Csv {
    fn write(&mut self, line: &Line) -> Result<(), ImportError> {
        self.head()?;
        let cells = harmless(line);
        self.record(COLUMNS.iter().map(|column| {
            let cell = cells.iter().find(|(name, _)| name == column);
            cell.map_or("", |(_, value)| value.as_str())
        }))
    }

    fn take(&mut self) -> Bytes {
        // A file without lines has its heading.
        let _ = self.head();
        std::mem::take(&mut self.written).into()
    }
}

/// The cells of a line, the dangerous ones escaped and guarded, and the lists of those.
fn harmless(line: &Line) -> Vec<(&'static str, String)> {
    let (mut guarded, mut escaped): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut cells: Vec<(&str, String)> = Vec::new();
    for (column, value) in line.cells() {
        let visible = cells::visible(value);
        if visible.is_some() {
            escaped.push(column);
        }
        let mut value = visible.unwrap_or_else(|| value.to_owned());
        if value.starts_with(DANGEROUS) {
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
