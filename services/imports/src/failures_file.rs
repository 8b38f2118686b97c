//! The failures file: one line per violation, with the fields of its record, so that
//! users can correct the record in the file; then one line per warning.
//!
//! A contact with several clients is one line: the source ids are separated by `;`, and
//! the roles at each client by `|`, so that `DIRECTOR;SHAREHOLDER|SECRETARY` are two
//! roles at the first client and one at the second. In these two columns, a backslash
//! escapes a `;`, a `|` or a `\` that belongs to a source id or a role: see
//! [`concord_core::list_cell`].
//!
//! The column `token` identifies the record of a row, even if a spreadsheet changes the
//! other cells: see [`concord_core::row_token`]. The last column names the import, so that
//! the file of one import cannot correct another.

mod columns;
mod csv;
mod jsonl;

use bytes::Bytes;
pub(crate) use columns::{Line, own_source_id};
pub(crate) use csv::Csv;
pub(crate) use jsonl::Jsonl;

use crate::error::ImportError;

/// Writes lines in one file format.
pub(crate) trait FileWriter: Send {
    /// Writes one line.
    fn write(&mut self, line: &Line) -> Result<(), ImportError>;

    /// Takes the bytes written since the last call.
    fn take(&mut self) -> Bytes;
}
