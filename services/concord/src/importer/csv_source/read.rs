//! Reads one CSV file: detects its kind by its headings, and iterates over its rows.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail, ensure};
use concord_core::rules::text::{is_blank, normalise_id};
use csv::{ErrorKind, StringRecord};

use super::{
    strict,
    unknown::{UnknownColumns, with_suggestion},
};

/// The kind of records in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableKind {
    Clients,
    Contacts,
    Addresses,
}

/// The columns of one kind of file.
#[derive(Debug)]
struct Format {
    kind: TableKind,
    name: &'static str,
    columns: &'static [&'static str],
    /// Required columns: without one of them every row would fail.
    required: &'static [&'static str],
    /// Columns that no other kind has.
    distinctive: [&'static str; 2],
}

static FORMATS: [Format; 3] = [
    Format {
        kind: TableKind::Clients,
        name: "clients",
        columns: &[
            "source_id",
            "client_reference",
            "client_type",
            "registered_name",
            "trading_name",
            "company_number",
            "utr",
            "vat_number",
            "paye_reference",
            "jurisdiction",
            "title",
            "forename",
            "surname",
            "birth_date",
            "email",
            "phone",
        ],
        required: &["source_id", "client_reference", "client_type"],
        distinctive: ["client_reference", "client_type"],
    },
    Format {
        kind: TableKind::Contacts,
        name: "contacts",
        columns: &[
            "source_id",
            "client_source_id",
            "roles",
            "title",
            "forename",
            "middle_names",
            "surname",
            "birth_date",
            "email",
            "phone",
        ],
        required: &["source_id", "client_source_id", "roles", "surname"],
        distinctive: ["client_source_id", "roles"],
    },
    Format {
        kind: TableKind::Addresses,
        name: "addresses",
        columns: &[
            "source_id",
            "owner_kind",
            "owner_source_id",
            "type",
            "line_1",
            "line_2",
            "line_3",
            "town",
            "county",
            "postcode",
            "country",
            "active_from",
            "active_to",
        ],
        required: &["source_id", "owner_kind", "owner_source_id", "type", "line_1"],
        distinctive: ["owner_kind", "owner_source_id"],
    },
];

/// The supported separators; the first is the default.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// The byte order marks of UTF-16.
const UTF_16: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];

/// A UTF-8 byte order mark that was decoded in the code page of Windows, DOS or Macintosh; and
/// a repeated byte order mark.
const MISREAD_MARKS: [&str; 4] = ["ï»¿", "´╗┐", "Ôªø", "\u{feff}"];

/// A file with its headings read.
#[derive(Debug)]
pub(super) enum Sheet {
    /// A file of records.
    Table(Table),
    /// Another file, and a remark about it.
    Other(String),
}

/// A file of records.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    format: &'static Format,
    headings: Vec<String>,
}

/// One row of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'r> {
    pub(super) path: &'r Path,
    pub(super) headings: &'r [String],
    pub(super) cells: &'r StringRecord,
}

impl Row<'_> {
    /// The value under the heading; empty when there is no such column.
    pub(super) fn text(self, column: &str) -> String {
        let index = self.headings.iter().position(|heading| heading == column);
        index.and_then(|index| self.cells.get(index)).unwrap_or_default().to_owned()
    }

    /// The location of the row: the file and the line.
    pub(super) fn location(self) -> String {
        format!("{}, line {}", self.path.display(), line(self.cells))
    }
}

impl Sheet {
    /// Opens a file, and reads its headings.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut rows = Rows::open(path)?;
        let Some(cells) = rows.next()? else {
            return Ok(Self::Other(format!("{}: ignored, it is empty", path.display())));
        };
        let headings = headings(cells);
        let Some(format) = format_of(path, &headings) else {
            // A stray quote in the heading may have merged the column names.
            if headings.iter().any(|heading| heading.contains("source_id")) {
                rows.check(Some(headings.len()))?;
            }
            return Ok(Self::Other(format!(
                "{}: ignored, its columns are not those of clients, contacts or addresses",
                path.display()
            )));
        };
        rows.check(Some(headings.len()))?;
        check_headings(path, format, &headings)?;
        Ok(Self::Table(Table { path: path.to_owned(), format, headings }))
    }
}

/// The normalised column names: without byte order marks, in lower case.
pub(super) fn headings(cells: &StringRecord) -> Vec<String> {
    let unmarked = |cell: &str| {
        let marked = MISREAD_MARKS.iter().find_map(|mark| cell.strip_prefix(mark));
        normalise_id(marked.unwrap_or(cell)).to_ascii_lowercase()
    };
    cells.iter().map(unmarked).collect()
}

/// The columns of a kind of file.
pub(super) fn columns(kind: TableKind) -> &'static [&'static str] {
    FORMATS.iter().find(|format| format.kind == kind).map_or(&[], |format| format.columns)
}

/// The format of a file with these headings. Without distinctive columns, the name of the file
/// decides, such as `clients.csv`.
fn format_of(path: &Path, headings: &[String]) -> Option<&'static Format> {
    let has = |column: &&str| headings.iter().any(|heading| heading == column);
    let some: Vec<_> = FORMATS.iter().filter(|format| format.distinctive.iter().any(has)).collect();
    let all: Vec<_> = FORMATS.iter().filter(|format| format.distinctive.iter().all(has)).collect();
    match (some.as_slice(), all.as_slice()) {
        ([one], _) | (_, [one]) => Some(one),
        ([], _) => {
            let stem = path.file_stem()?.to_str()?;
            FORMATS.iter().find(|format| format.name.eq_ignore_ascii_case(stem))
        }
        _ => None,
    }
}

fn check_headings(path: &Path, format: &Format, headings: &[String]) -> anyhow::Result<()> {
    let unknown: Vec<&str> = headings
        .iter()
        .map(String::as_str)
        .filter(|heading| !heading.is_empty() && !format.columns.contains(heading))
        .collect();
    let missing: Vec<_> = format
        .required
        .iter()
        .filter(|column| !headings.iter().any(|heading| heading == *column))
        .map(|column| with_suggestion(column, &unknown))
        .collect();
    ensure!(
        missing.is_empty(),
        "{}: a file of {} needs the column {}",
        path.display(),
        format.name,
        missing.join(", ")
    );
    for (index, heading) in headings.iter().enumerate() {
        let is_duplicate = headings.iter().take(index).any(|earlier| earlier == heading);
        if is_duplicate && format.columns.contains(&heading.as_str()) {
            bail!("{}: duplicate column `{heading}`", path.display());
        }
    }
    Ok(())
}

impl Table {
    /// The kind of its records.
    pub(super) fn kind(&self) -> TableKind {
        self.format.kind
    }

    /// The unknown columns. Rows are added to it as they are read.
    pub(super) fn unknown_columns(&self) -> UnknownColumns<'_> {
        let Format { name, columns, .. } = self.format;
        UnknownColumns::new(&self.path, name, columns, &self.headings)
    }

    /// Passes every row to `take`. Skips rows without values.
    ///
    /// # Errors
    ///
    /// When a row cannot be read, with the file and the line.
    pub(super) fn each_row(
        &self,
        take: impl FnMut(Row<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut rows = Rows::open(&self.path)?;
        // Skips the headings.
        rows.next()?;
        rows.each_below(&self.headings, take)
    }
}

/// The rows of a file, including the headings.
pub(super) struct Rows<'p> {
    path: &'p Path,
    separator: u8,
    reader: csv::Reader<BufReader<File>>,
    cells: StringRecord,
    /// Correction of the line numbers of the reader, which attributes the second character of
    /// a CRLF line end to the next line.
    line_offset: u64,
}

impl<'p> Rows<'p> {
    pub(super) fn open(path: &'p Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut file = BufReader::new(file);
        let begin = file.fill_buf().with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            !UTF_16.iter().any(|mark| begin.starts_with(mark)),
            "{}: in UTF-16 (“Unicode text”), not in UTF-8; save the file as “CSV UTF-8”",
            path.display()
        );
        let first_line = begin.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line_offset = u64::from(first_line.ends_with(b"\r"));
        let separator = separator(first_line);
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .delimiter(separator)
            // `each_below` checks the number of values, with a better error.
            .flexible(true)
            .from_reader(file);
        Ok(Self { path, separator, reader, cells: StringRecord::new(), line_offset })
    }

    /// Rejects the file when the end of a quoted value is ambiguous. With `columns`, the number
    /// of columns, also rejects values that seem to contain other rows.
    pub(super) fn check(&self, columns: Option<usize>) -> anyhow::Result<()> {
        strict::check(self.path, self.separator, columns)
    }

    /// Passes every row below the headings to `take`. Skips rows without values.
    pub(super) fn each_below(
        &mut self,
        headings: &[String],
        mut take: impl FnMut(Row<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = self.path;
        while let Some(cells) = self.next()? {
            // Spreadsheets write such rows at the end of a file.
            if cells.iter().all(is_blank) {
                continue;
            }
            let row = Row { path, headings, cells };
            ensure!(
                cells.len() == headings.len(),
                "{}: {} values, and the heading has {}",
                row.location(),
                cells.len(),
                headings.len()
            );
            take(row)?;
        }
        Ok(())
    }

    pub(super) fn next(&mut self) -> anyhow::Result<Option<&StringRecord>> {
        let read = self.reader.read_record(&mut self.cells);
        if !read.map_err(|error| self.explained(error))? {
            return Ok(None);
        }
        self.count_lines();
        Ok(Some(&self.cells))
    }

    fn count_lines(&mut self) {
        let position = self.cells.position().cloned();
        if let Some(mut position) = position {
            position.set_line(self.line_of(&position));
            self.cells.set_position(Some(position));
        }
    }

    /// The line of a position of the reader.
    fn line_of(&self, position: &csv::Position) -> u64 {
        position.line() + if position.record() > 0 { self.line_offset } else { 0 }
    }

    fn explained(&self, error: csv::Error) -> anyhow::Error {
        let path = self.path.display();
        match error.kind() {
            ErrorKind::Utf8 { pos, .. } => {
                let line = pos.as_ref().map_or(1, |position| self.line_of(position));
                anyhow!("{path}, line {line}: not in UTF-8; save the file as “CSV UTF-8”")
            }
            _ => anyhow::Error::new(error).context(format!("cannot read {path}")),
        }
    }
}

/// Detects the separator by which the headings have the most known columns. Spreadsheets use the
/// separator of their locale.
fn separator(heading: &[u8]) -> u8 {
    let is_known = |cell: &&[u8]| {
        let cell = String::from_utf8_lossy(cell).to_ascii_lowercase();
        let cell = cell.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\u{feff}');
        FORMATS.iter().any(|format| format.columns.contains(&cell))
    };
    let known = |separator| heading.split(|byte| *byte == separator).filter(is_known).count();
    let best = SEPARATORS.into_iter().map(|separator| (known(separator), separator));
    best.reduce(|best, next| if next.0 > best.0 { next } else { best }).map_or(b',', |best| best.1)
}

/// The first line of a row, from 1.
fn line(cells: &StringRecord) -> u64 {
    cells.position().map_or(1, csv::Position::line)
}
