//! The failures file: one line for each violation, with the fields of its record,
//! so that the record can be corrected in it; then one for each warning of a record
//! that was taken all the same, or that failed.
//!
//! A contact with several clients stands on one line all the same: their source
//! ids are separated by `;`, and the roles at each of them by `|`, so that
//! `DIRECTOR;SHAREHOLDER|SECRETARY` are two at the first client and one at the
//! second. In these two columns a `;`, a `|` or a `\` that belongs to a source id
//! or a role has a backslash before it: see [`shared::cells`].
//!
//! The column `token` identifies the record of a row, whatever a spreadsheet does to
//! the other cells: see [`shared::row_token`]. The last column names the import, so
//! that the file of one import cannot correct another.

mod columns;
mod csv;
mod jsonl;

use bytes::Bytes;
pub(crate) use columns::{Line, own_source_id};
pub(crate) use csv::Csv;
pub(crate) use jsonl::Jsonl;

use crate::error::ImportError;

/// Writes lines in one form.
pub(crate) trait FileWriter: Send {
    /// Writes one line.
    fn write(&mut self, line: &Line) -> Result<(), ImportError>;

    /// Takes what was written since the last time.
    fn take(&mut self) -> Bytes;
}
