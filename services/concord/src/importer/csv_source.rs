//! Reads a practice's records from CSV files.
//!
//! The files are read twice: [`Source::scan`] reads every row, so that an invalid file
//! fails before the import starts, and [`Source::read`] iterates over the records. Only
//! contacts are kept in memory in between, because the rows of one person may be anywhere.

mod corrected;
mod group;
mod read;
mod record;
mod strict;
mod unknown;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;

#[cfg(test)]
pub(crate) use corrected::rows_of;
pub(crate) use corrected::{FailedRow, Replacement, downloaded_rows, failed_rows};
use group::Contacts;
use read::{Row, Sheet, Table, TableKind};
use record::{address, client, encode};
pub(crate) use strict::REMEDY as REMEDY_OF_QUOTES;

/// The maximum size of the record of one row in bytes. A larger row is an error in the file.
const MAX_ROW_BYTES: usize = 64 * 1_024;

/// The number of records by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordCounts {
    pub(crate) clients: u64,
    pub(crate) contacts: u64,
    pub(crate) addresses: u64,
}

impl RecordCounts {
    pub(crate) fn all(self) -> u64 {
        self.clients + self.contacts + self.addresses
    }
}

/// The scanned files, ready to be read again.
#[derive(Debug)]
pub(crate) struct Source {
    tables: Vec<Table>,
    /// Encoded records that are kept in memory instead of being read again.
    kept: Vec<Bytes>,
    counts: RecordCounts,
    remarks: Vec<String>,
    unknown: Vec<String>,
}

impl Source {
    /// Scans the files, and the `.csv` files of each folder.
    ///
    /// # Errors
    ///
    /// The first error of a file, with the file and its line or column. The server validates
    /// the records.
    pub(crate) fn scan(inputs: &[PathBuf]) -> anyhow::Result<Self> {
        let (tables, remarks) = open_all(inputs)?;
        ensure!(
            !tables.is_empty(),
            "none of the files has the columns of clients, contacts or addresses:\n  {}",
            remarks.join("\n  ")
        );
        let mut counts = RecordCounts::default();
        let mut contacts = Contacts::default();
        let mut unknown = Vec::new();
        for table in &tables {
            let mut columns = table.unknown_columns();
            table.each_row(|row| {
                columns.add_row(row.cells);
                match table.kind() {
                    TableKind::Clients => counts.clients += 1,
                    TableKind::Addresses => counts.addresses += 1,
                    TableKind::Contacts => contacts.add(group::contact_row(row)),
                }
                check_size(row, table.kind())
            })?;
            unknown.extend(columns.message());
        }
        let kept = contacts.into_records()?;
        counts.contacts = kept.len() as u64;
        Ok(Self { tables, kept, counts, remarks, unknown })
    }

    /// A source of replacement records, which are in memory.
    pub(crate) fn of_replacements(replacements: Vec<Replacement>) -> Self {
        let mut counts = RecordCounts::default();
        let mut kept = Vec::new();
        for Replacement { kind, record } in replacements {
            match kind {
                TableKind::Clients => counts.clients += 1,
                TableKind::Contacts => counts.contacts += 1,
                TableKind::Addresses => counts.addresses += 1,
            }
            kept.push(record);
        }
        Self { kept, counts, tables: Vec::new(), remarks: Vec::new(), unknown: Vec::new() }
    }

    /// The number of records by kind.
    pub(crate) fn counts(&self) -> RecordCounts {
        self.counts
    }

    /// Remarks about the files for the user.
    pub(crate) fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The unknown columns, which are not read: one message for each file that has some.
    pub(crate) fn unknown_columns(&self) -> &[String] {
        &self.unknown
    }

    /// Passes every record, encoded, to `take`.
    pub(crate) fn read(
        &self,
        mut take: impl FnMut(Bytes) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for table in &self.tables {
            match table.kind() {
                TableKind::Clients => table.each_row(|row| take(encode(client(row), "")?))?,
                TableKind::Addresses => table.each_row(|row| take(encode(address(row), "")?))?,
                TableKind::Contacts => {}
            }
        }
        self.kept.iter().cloned().try_for_each(take)
    }
}

/// Opens the files. Returns those with records, and remarks about the others.
fn open_all(inputs: &[PathBuf]) -> anyhow::Result<(Vec<Table>, Vec<String>)> {
    let (mut tables, mut remarks) = (Vec::new(), Vec::new());
    for path in files(inputs)? {
        match Sheet::open(&path)? {
            Sheet::Table(table) => tables.push(table),
            Sheet::Other(remark) => remarks.push(remark),
        }
    }
    Ok((tables, remarks))
}

/// Fails for a row whose record is too large. Checked here because the file and the line are
/// known here.
fn check_size(row: Row<'_>, kind: TableKind) -> anyhow::Result<()> {
    let record = match kind {
        TableKind::Clients => client(row),
        TableKind::Addresses => address(row),
        TableKind::Contacts => return Ok(()),
    };
    let size = encode(record, "").with_context(|| row.location())?.len();
    ensure!(
        size <= MAX_ROW_BYTES,
        "{}: the row makes a record of {size} bytes; the maximum is {MAX_ROW_BYTES}",
        row.location()
    );
    Ok(())
}

/// The input files; those of a folder sorted by name.
fn files(inputs: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for input in inputs {
        if input.is_dir() {
            let found =
                csv_files(input).with_context(|| format!("cannot read {}", input.display()))?;
            if found.is_empty() {
                bail!("there are no .csv files in {}", input.display());
            }
            files.extend(found);
        } else {
            files.push(input.clone());
        }
    }
    Ok(files)
}

fn csv_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_csv =
            path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        if is_csv && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
