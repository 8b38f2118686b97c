//! Reads a failures file: the records in it, as the service wrote them or as
//! people corrected them. Its columns are those of all kinds of record together,
//! and those that say what is wrong, which are not read.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use csv::StringRecord;
use shared::{
    cells,
    pb::imports::{ContactClient, ImportContact, import_record::Record},
    row_token::RowToken,
};

use super::{
    address, client, encode,
    read::{Row, Rows, TableKind, columns, headings},
    strict::REMEDY,
};

/// The column that names the cells which an apostrophe was put before.
const GUARDED: &str = "guarded";

/// The column that names the cells whose control characters are written as text.
const ESCAPED: &str = "escaped";

/// The column that says which record a row is of.
const TOKEN: &str = "token";

/// The column in which people name those whose values they mean.
const CHANGED: &str = "changed";

/// The column that names the import.
const IMPORT: &str = "import";

/// Columns that are read when they are there.
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

/// What all rows of a file share.
#[derive(Debug)]
struct Heading {
    path: PathBuf,
    names: Vec<String>,
}

impl FailedRow {
    fn row(&self) -> Row<'_> {
        Row { path: &self.heading.path, headings: &self.heading.names, cells: &self.cells }
    }

    /// The file and the line, for people.
    pub(crate) fn place(&self) -> String {
        self.row().place()
    }

    /// The value in a column; empty when there is no such column.
    pub(crate) fn cell(&self, column: &str) -> String {
        self.row().text(column)
    }

    /// `client`, `contact` or `address`; something else when the record could not be
    /// read.
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

    /// Names the record to people, `client C2`.
    pub(crate) fn name(&self) -> String {
        match self.cell("source_id").trim() {
            "" => format!("{} without a source id", self.kind()),
            source_id => format!("{} {source_id}", self.kind()),
        }
    }

    /// Whether the row says that the record failed: that it was not excluded or
    /// skipped, and that the row is not a warning alone.
    pub(crate) fn has_failed(&self) -> bool {
        let is = |column, text| self.cell(column).trim().eq_ignore_ascii_case(text);
        is("status", "failed") && !is("severity", "warning")
    }

    /// The import that the file is of; empty when it does not say.
    pub(crate) fn import(&self) -> String {
        self.cell(IMPORT).trim().to_owned()
    }

    /// The value in the column of the token.
    pub(crate) fn token_text(&self) -> String {
        self.cell(TOKEN).trim().to_owned()
    }

    /// The token; none when there is none, or one that was altered.
    pub(crate) fn token(&self) -> Option<RowToken> {
        RowToken::parse(&self.token_text())
    }

    /// The values that hold another row of the file, by column: the text between a quote
    /// and one in a later row. Each row has a token, so that such a value has one in it.
    pub(crate) fn swallowed(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.heading.names.iter().map(String::as_str).zip(&self.cells);
        named.filter(|(_, cell)| holds_row(cell))
    }

    /// The columns whose values were changed on purpose, as people named them.
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

    /// The record in the place of the one that failed; none when that one could not
    /// be read.
    ///
    /// # Errors
    ///
    /// Says what of the row makes no record, without its place.
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

/// Reads the file; of a record with several violations there are several rows.
///
/// # Errors
///
/// Names the line, or the column, of what is wrong with the file.
pub(crate) fn failed_rows(path: &Path) -> anyhow::Result<Vec<FailedRow>> {
    read(path, true)
}

/// Reads the file as the service wrote it, whatever the values in it look like.
///
/// # Errors
///
/// When it cannot be read.
pub(crate) fn downloaded_rows(path: &Path) -> anyhow::Result<Vec<FailedRow>> {
    read(path, false)
}

fn read(path: &Path, with_care: bool) -> anyhow::Result<Vec<FailedRow>> {
    let mut rows = Rows::open(path)?;
    let cells = rows.next()?.with_context(|| format!("{} is empty", path.display()))?;
    let (names, is_joined) = (headings(cells), cells.iter().any(holds_row));
    if with_care {
        // Values of several lines may look like anything: their tokens tell rows.
        rows.check(None)?;
        ensure!(
            !is_joined,
            "{}, line 1: a quote is opened in the heading and closed in a row. {REMEDY}",
            path.display()
        );
    }
    check_headings(path, &names)?;
    let heading = Arc::new(Heading { path: path.to_owned(), names });
    let mut found = Vec::new();
    rows.each_below(&heading.names, |row| {
        found.push(FailedRow { heading: Arc::clone(&heading), cells: as_they_were(row) });
        Ok(())
    })?;
    Ok(found)
}

/// Whether there is the token of a row in a text of several lines.
fn holds_row(text: &str) -> bool {
    let text = text.trim();
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    text.contains(['\n', '\r']) && words.any(|word| RowToken::parse(word).is_some())
}

/// All columns must be there: without one, its field would be emptied in every
/// record.
fn check_headings(path: &Path, headings: &[String]) -> anyhow::Result<()> {
    let kinds = [TableKind::Clients, TableKind::Contacts, TableKind::Addresses];
    let fields = kinds.into_iter().flat_map(columns);
    let mut missing = Vec::new();
    for column in ["kind", "status", TOKEN, GUARDED, ESCAPED].iter().chain(fields).chain(&OPTIONAL)
    {
        let places = headings.iter().filter(|heading| heading == column).count();
        ensure!(places < 2, "{}: the column `{column}` stands there twice", path.display());
        let name = format!("`{column}`");
        if places == 0 && !OPTIONAL.contains(column) && !missing.contains(&name) {
            missing.push(name);
        }
    }
    ensure!(
        missing.is_empty(),
        "{}: a failures file has more columns: {}; `concord imports failures IMPORT --file FILE` \
         writes it anew",
        path.display(),
        missing.join(", ")
    );
    Ok(())
}

/// The cells as the service had them: those that are guarded without their apostrophe,
/// and those that are escaped with their control characters.
fn as_they_were(row: Row<'_>) -> StringRecord {
    let (guarded, escaped) = (row.text(GUARDED), row.text(ESCAPED));
    let is_in = |names: &str, heading: &str| names.split(';').any(|name| name.trim() == heading);
    let mut plain = StringRecord::with_capacity(row.cells.as_slice().len(), row.cells.len());
    for (heading, cell) in row.headings.iter().zip(row.cells) {
        let bare = cell.strip_prefix('\'').filter(|_| is_in(&guarded, heading));
        let cell = bare.unwrap_or(cell);
        if is_in(&escaped, heading) {
            plain.push_field(&cells::raw(cell));
        } else {
            plain.push_field(cell);
        }
    }
    plain.set_position(row.cells.position().cloned());
    plain
}

/// A person with all of its clients: `C1;C2`, and the roles at each of them,
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
    let roles: Vec<_> = cells::parts(&roles, '|').into_iter().map(words).collect();
    let has_no_ids = roles.len() == 1 && ids.trim().is_empty();
    let ids = if has_no_ids { vec![String::new()] } else { words(&ids) };
    ensure!(
        ids.len() == roles.len(),
        "{} clients, and roles of {}; roles of two clients are written as DIRECTOR|PSC, and a \
         `;` in the source id of a client as `\\;`",
        ids.len(),
        roles.len()
    );
    let places = ids.into_iter().zip(roles);
    let places = places.map(|(client_source_id, roles)| ContactClient { client_source_id, roles });
    Ok(places.collect())
}

fn words(cell: &str) -> Vec<String> {
    cells::words(cell, ';')
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
