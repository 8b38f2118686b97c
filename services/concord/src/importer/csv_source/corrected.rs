//! Reads a failures file, original or corrected. It has the columns of all kinds of record, and
//! columns that describe the failure, which are not read.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use concord_core::{list_cell, row_token::RowToken};
use concord_proto::pb::imports::{ContactClient, ImportContact, import_record::Record};
use csv::StringRecord;

use super::{
    read::{Row, Rows, TableKind, columns, headings},
    record::{address, client, encode},
    strict::REMEDY,
};

/// The column that names the cells with an apostrophe prefix, against formula injection.
const GUARDED: &str = "guarded";

/// The column that names the cells with escaped control characters.
const ESCAPED: &str = "escaped";

/// The column with the token that identifies the record of a row.
const TOKEN: &str = "token";

/// The column in which users name columns whose values they changed on purpose.
const CHANGED: &str = "changed";

/// The column with the import id.
const IMPORT: &str = "import";

/// The optional columns.
const OPTIONAL: [&str; 2] = [IMPORT, CHANGED];

/// A record that replaces a failed one.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    pub(super) kind: TableKind,
    /// The record, encoded.
    pub(crate) record: Bytes,
}

/// One row of a failures file.
#[derive(Clone, Debug)]
pub(crate) struct FailedRow {
    heading: Arc<Heading>,
    cells: StringRecord,
}

/// The path and the headings, which all rows of a file share.
#[derive(Debug)]
struct Heading {
    path: PathBuf,
    names: Vec<String>,
}

impl FailedRow {
    fn row(&self) -> Row<'_> {
        Row { path: &self.heading.path, headings: &self.heading.names, cells: &self.cells }
    }

    /// The file and the line.
    pub(crate) fn location(&self) -> String {
        self.row().location()
    }

    /// The value in a column; empty when there is no such column.
    pub(crate) fn cell(&self, column: &str) -> String {
        self.row().text(column)
    }

    /// `client`, `contact` or `address`; another value when the record could not be read.
    pub(crate) fn kind(&self) -> String {
        self.cell("kind").trim().to_ascii_lowercase()
    }

    fn table(&self) -> Option<TableKind> {
        match self.kind().as_str() {
            "client" => Some(TableKind::Clients),
            "contact" => Some(TableKind::Contacts),
            "address" => Some(TableKind::Addresses),
            _ => None,
        }
    }

    /// The columns of the record; none when it could not be read.
    pub(crate) fn columns(&self) -> &'static [&'static str] {
        self.table().map_or(&[], columns)
    }

    /// The display name of the record, `client C2`.
    pub(crate) fn name(&self) -> String {
        match self.cell("source_id").trim() {
            "" => format!("{} without a source id", self.kind()),
            source_id => format!("{} {source_id}", self.kind()),
        }
    }

    /// Whether the row is a failure: the record was not excluded or skipped, and the row is not
    /// a warning.
    pub(crate) fn has_failed(&self) -> bool {
        let is = |column, text| self.cell(column).trim().eq_ignore_ascii_case(text);
        is("status", "failed") && !is("severity", "warning")
    }

    /// The import of the file; empty when the column is missing.
    pub(crate) fn import(&self) -> String {
        self.cell(IMPORT).trim().to_owned()
    }

    /// The value in the column of the token.
    pub(crate) fn token_text(&self) -> String {
        self.cell(TOKEN).trim().to_owned()
    }

    /// The token; none when it is missing or altered.
    pub(crate) fn token(&self) -> Option<RowToken> {
        RowToken::parse(&self.token_text())
    }

    /// The values that contain another row of the file, by column: text from a stray quote to
    /// a quote in a later row. They are detected by the token of that row.
    pub(crate) fn values_with_rows(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.heading.names.iter().map(String::as_str).zip(&self.cells);
        named.filter(|(_, cell)| contains_row(cell))
    }

    /// The columns that are marked as changed on purpose.
    pub(crate) fn marked(&self) -> Vec<String> {
        let names = self.cell(CHANGED);
        let names = names.split([';', ',', '\n']).map(|name| name.trim().to_ascii_lowercase());
        names.filter(|name| !name.is_empty()).map(|name| name.replace(' ', "_")).collect()
    }

    /// The row with other values in some of its columns.
    pub(crate) fn with<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Self {
        let named = self.heading.names.iter().zip(&self.cells);
        let cells = named.map(|(name, cell)| value(name).unwrap_or(cell)).collect();
        Self { heading: Arc::clone(&self.heading), cells }
    }

    /// The replacement of the failed record; none when the failed record could not be read.
    ///
    /// # Errors
    ///
    /// When the row is not a valid record. The error does not contain the location.
    pub(crate) fn replacement(&self) -> anyhow::Result<Option<Replacement>> {
        let Some(kind) = self.table() else { return Ok(None) };
        let record = match kind {
            TableKind::Clients => client(self.row()),
            TableKind::Addresses => address(self.row()),
            TableKind::Contacts => Record::Contact(contact(self.row())?),
        };
        Ok(Some(Replacement { kind, record: encode(record, &self.token_text())? }))
    }
}

/// Reads a corrected failures file, with strict checks. A record with several violations has
/// several rows.
///
/// # Errors
///
/// When the file is invalid, with the line or the column.
pub(crate) fn failed_rows(path: &Path) -> anyhow::Result<Vec<FailedRow>> {
    read(path, true)
}

/// Reads an original failures file of the service, without strict checks.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) fn downloaded_rows(path: &Path) -> anyhow::Result<Vec<FailedRow>> {
    read(path, false)
}

fn read(path: &Path, strict: bool) -> anyhow::Result<Vec<FailedRow>> {
    let mut rows = Rows::open(path)?;
    let cells = rows.next()?.with_context(|| format!("{} is empty", path.display()))?;
    let (names, is_joined) = (headings(cells), cells.iter().any(contains_row));
    if strict {
        // Values with several lines may look like rows, so that rows are detected by their
        // tokens.
        rows.check(None)?;
        ensure!(
            !is_joined,
            "{}, line 1: a quote is opened in the heading and closed in a row. {REMEDY}",
            path.display()
        );
    }
    check_headings(path, &names)?;
    let heading = Arc::new(Heading { path: path.to_owned(), names });
    let mut failed = Vec::new();
    rows.each_below(&heading.names, |row| {
        failed.push(FailedRow { heading: Arc::clone(&heading), cells: unescaped(row) });
        Ok(())
    })?;
    Ok(failed)
}

/// Whether a text with several lines contains a row token.
fn contains_row(text: &str) -> bool {
    let text = text.trim();
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    text.contains(['\n', '\r']) && words.any(|word| RowToken::parse(word).is_some())
}

/// Checks that all columns exist: a missing one would clear its field in every record.
fn check_headings(path: &Path, headings: &[String]) -> anyhow::Result<()> {
    let kinds = [TableKind::Clients, TableKind::Contacts, TableKind::Addresses];
    let fields = kinds.into_iter().flat_map(columns);
    let mut missing = Vec::new();
    for column in ["kind", "status", TOKEN, GUARDED, ESCAPED].iter().chain(fields).chain(&OPTIONAL)
    {
        let count = headings.iter().filter(|heading| heading == column).count();
        ensure!(count < 2, "{}: duplicate column `{column}`", path.display());
        let name = format!("`{column}`");
        if count == 0 && !OPTIONAL.contains(column) && !missing.contains(&name) {
            missing.push(name);
        }
    }
    ensure!(
        missing.is_empty(),
        "{}: columns of a failures file are missing: {}; `concord imports failures IMPORT \
         --file FILE` writes the file again",
        path.display(),
        missing.join(", ")
    );
    Ok(())
}

/// Reverses the escaping of the service: removes the apostrophe of guarded cells, and restores
/// the control characters of escaped cells.
fn unescaped(row: Row<'_>) -> StringRecord {
    let (guarded, escaped) = (row.text(GUARDED), row.text(ESCAPED));
    let is_in = |names: &str, heading: &str| names.split(';').any(|name| name.trim() == heading);
    let mut plain = StringRecord::with_capacity(row.cells.as_slice().len(), row.cells.len());
    for (heading, cell) in row.headings.iter().zip(row.cells) {
        let bare = cell.strip_prefix('\'').filter(|_| is_in(&guarded, heading));
        let cell = bare.unwrap_or(cell);
        if is_in(&escaped, heading) {
            plain.push_field(&list_cell::unescape_control(cell));
        } else {
            plain.push_field(cell);
        }
    }
    plain.set_position(row.cells.position().cloned());
    plain
}

/// Reads a contact: a person, its clients, `C1;C2`, and the roles at each client,
/// `DIRECTOR;PSC|PARTNER`.
fn contact(row: Row<'_>) -> anyhow::Result<ImportContact> {
    Ok(ImportContact {
        source_id: row.text("source_id"),
        clients: clients(row)?,
        title: row.text("title"),
        forename: row.text("forename"),
        middle_names: row.text("middle_names"),
        surname: row.text("surname"),
        birth_date: row.text("birth_date"),
        email: row.text("email"),
        phone: row.text("phone"),
    })
}

fn clients(row: Row<'_>) -> anyhow::Result<Vec<ContactClient>> {
    let (ids, roles) = (row.text("client_source_id"), row.text("roles"));
    if ids.trim().is_empty() && roles.trim().is_empty() {
        return Ok(Vec::new());
    }
    let roles: Vec<_> = list_cell::split_raw(&roles, '|').into_iter().map(words).collect();
    let has_no_ids = roles.len() == 1 && ids.trim().is_empty();
    let ids = if has_no_ids { vec![String::new()] } else { words(&ids) };
    ensure!(
        ids.len() == roles.len(),
        "{} clients, and roles of {}; roles of two clients are written as DIRECTOR|PSC, and a \
         `;` in the source id of a client as `\\;`",
        ids.len(),
        roles.len()
    );
    let clients = ids.into_iter().zip(roles);
    let clients =
        clients.map(|(client_source_id, roles)| ContactClient { client_source_id, roles });
    Ok(clients.collect())
}

fn words(cell: &str) -> Vec<String> {
    list_cell::split(cell, ';')
}

/// Rows of a failures file with these values, by column.
#[cfg(test)]
pub(crate) fn rows_of(rows: &[&[(&str, &str)]]) -> anyhow::Result<Vec<FailedRow>> {
    let kinds = [TableKind::Clients, TableKind::Contacts, TableKind::Addresses];
    let mut headings = vec!["status", "severity", "kind", "record_name", "batch", "row"];
    headings.extend([TOKEN, GUARDED, ESCAPED, CHANGED]);
    for column in kinds.into_iter().flat_map(columns) {
        if !headings.contains(column) {
            headings.push(column);
        }
    }
    headings.push(IMPORT);
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(vec![]);
    writer.write_record(&headings)?;
    for row in rows {
        let cell =
            |name: &&str| row.iter().find(|(column, _)| column == name).map_or("", |it| it.1);
        writer.write_record(headings.iter().map(cell))?;
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("failures.csv");
    std::fs::write(&path, ["\u{feff}".as_bytes(), &writer.into_inner()?].concat())?;
    failed_rows(&path)
}

#[cfg(test)]
mod tests;
