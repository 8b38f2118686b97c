//! Reads a failures file: the records in it, as the service wrote them or as
//! people corrected them. Its columns are those of all kinds of record together,
//! and those that say what is wrong, which are not read.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use csv::StringRecord;
use shared::{
    cells,
    pb::imports::{ContactClient, ImportContact, import_record::Record},
    rules::text::normalise,
};

use super::{
    address, client, encode,
    read::{Row, Rows, TableKind, columns, headings},
};

/// The column that names the cells which an apostrophe was put before.
const GUARDED: &str = "guarded";

/// The column that names the import; files of older versions do not have it.
const IMPORT: &str = "import";

/// Columns that are read when they are there.
const OPTIONAL: [&str; 3] = [IMPORT, "batch", "row"];

/// What a record is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordKey {
    /// `client`, `contact` or `address`.
    pub(crate) kind: &'static str,
    /// As the service compares it.
    pub(crate) source_id: String,
}

/// Names the record to people, `client C2`.
impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.source_id)
    }
}

impl RecordKey {
    fn of(row: Row<'_>) -> anyhow::Result<Option<Self>> {
        let source_id = normalise(&row.text("source_id"));
        let kind = match row.text("kind").trim().to_ascii_lowercase().as_str() {
            "client" => "client",
            "contact" => "contact",
            "address" => "address",
            "" => return Ok(None),
            other => bail!("{}: the kind is client, contact or address, not {other}", row.place()),
        };
        Ok((!source_id.is_empty()).then_some(Self { kind, source_id }))
    }

    pub(super) fn kind(&self) -> TableKind {
        match self.kind {
            "client" => TableKind::Clients,
            "contact" => TableKind::Contacts,
            _ => TableKind::Addresses,
        }
    }
}

/// One row of a failures file.
#[derive(Clone, Debug)]
pub(crate) struct FailedRow {
    pub(crate) key: RecordKey,
    /// Whether the record failed, and was not excluded or skipped.
    pub(crate) failed: bool,
    /// The record, encoded.
    pub(crate) record: Bytes,
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
    /// The row, when something can stand in for its record.
    fn of(heading: &Arc<Heading>, cells: StringRecord) -> anyhow::Result<Option<Self>> {
        let row = Row { path: &heading.path, headings: &heading.names, cells: &cells };
        let Some(key) = RecordKey::of(row)? else { return Ok(None) };
        let record = match key.kind() {
            TableKind::Clients => client(row),
            TableKind::Addresses => address(row),
            TableKind::Contacts => Record::Contact(contact(row)?),
        };
        let record = encode(record).with_context(|| row.place())?;
        let failed = row.text("status").trim().eq_ignore_ascii_case("failed");
        Ok(Some(Self { key, failed, record, heading: Arc::clone(heading), cells }))
    }

    fn row(&self) -> Row<'_> {
        Row { path: &self.heading.path, headings: &self.heading.names, cells: &self.cells }
    }

    /// The file and the line, for people.
    pub(crate) fn place(&self) -> String {
        self.row().place()
    }

    /// The import that the file is of; empty when it does not say.
    pub(crate) fn import(&self) -> String {
        self.row().text(IMPORT).trim().to_owned()
    }

    /// Where the record was in its import: the batch and the row. Empty when the
    /// file does not say.
    pub(crate) fn origin(&self) -> (String, String) {
        let text = |column| self.row().text(column).trim().to_owned();
        (text("batch"), text("row"))
    }

    /// The columns of the record, and what stands in them.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        columns(self.key.kind()).iter().map(|column| (*column, self.row().text(column)))
    }

    /// The row with other values in some of its columns.
    pub(crate) fn with(&self, values: &[(&str, &str)]) -> anyhow::Result<Self> {
        let cell = |(name, cell)| {
            let value = values.iter().find(|(column, _)| column == name);
            value.map_or(cell, |(_, value)| *value)
        };
        let mut cells: StringRecord =
            self.heading.names.iter().zip(&self.cells).map(cell).collect();
        cells.set_position(self.cells.position().cloned());
        let row = Self::of(&self.heading, cells)?;
        row.with_context(|| format!("{}: no source id", self.place()))
    }
}

/// Reads the file; of a record with several violations there are several rows.
/// Rows without a kind or a source id are only counted: nothing can stand in for
/// such a record.
///
/// # Errors
///
/// Names the line, or the column, of what is wrong with the file.
pub(crate) fn failed_rows(path: &Path) -> anyhow::Result<(Vec<FailedRow>, usize)> {
    let mut rows = Rows::open(path)?;
    let names = headings(rows.next()?.with_context(|| format!("{} is empty", path.display()))?);
    rows.check(names.len())?;
    check_headings(path, &names)?;
    let heading = Arc::new(Heading { path: path.to_owned(), names });
    let (mut found, mut without_key) = (Vec::new(), 0);
    rows.each_below(&heading.names, |row| {
        match FailedRow::of(&heading, unguarded(row))? {
            Some(row) => found.push(row),
            None => without_key += 1,
        }
        Ok(())
    })?;
    Ok((found, without_key))
}

/// All columns must be there: without one, its field would be emptied in every
/// record.
fn check_headings(path: &Path, headings: &[String]) -> anyhow::Result<()> {
    let kinds = [TableKind::Clients, TableKind::Contacts, TableKind::Addresses];
    let fields = kinds.into_iter().flat_map(columns);
    let mut missing = Vec::new();
    for column in ["kind", "status", GUARDED].iter().chain(fields).chain(&OPTIONAL) {
        let places = headings.iter().filter(|heading| heading == column).count();
        ensure!(places < 2, "{}: the column `{column}` stands there twice", path.display());
        let name = format!("`{column}`");
        if places == 0 && !OPTIONAL.contains(column) && !missing.contains(&name) {
            missing.push(name);
        }
    }
    ensure!(
        missing.is_empty(),
        "{}: a failures file has more columns: {}",
        path.display(),
        missing.join(", ")
    );
    Ok(())
}

/// The cells, those that are guarded without their apostrophe.
fn unguarded(row: Row<'_>) -> StringRecord {
    let names = row.text(GUARDED);
    let is_guarded = |heading: &str| names.split(';').any(|name| name.trim() == heading);
    let cells = row.headings.iter().zip(row.cells).map(|(heading, cell)| {
        if is_guarded(heading) { cell.strip_prefix('\'').unwrap_or(cell) } else { cell }
    });
    let mut unguarded: StringRecord = cells.collect();
    unguarded.set_position(row.cells.position().cloned());
    unguarded
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
    let is_older = !row.headings.iter().any(|heading| heading == IMPORT);
    // An older file has the id of a single client as it is.
    let single = roles.len() == 1 && (is_older || ids.trim().is_empty());
    let ids = if single { vec![cells::unescape(&ids)] } else { words(&ids) };
    ensure!(
        ids.len() == roles.len(),
        "{}: {} clients, and roles of {}; roles of two clients are written as DIRECTOR|PSC, and a \
         `;` in the source id of a client as `\\;`",
        row.place(),
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

/// Rows of a failures file with these values, by column, and how many have no
/// key; `older` is one without the column `import`.
#[cfg(test)]
pub(crate) fn rows_of(
    older: bool,
    rows: &[&[(&str, &str)]],
) -> anyhow::Result<(Vec<FailedRow>, usize)> {
    let kinds = [TableKind::Clients, TableKind::Contacts, TableKind::Addresses];
    let mut headings = vec!["status", "kind", "batch", "row", GUARDED];
    for column in kinds.into_iter().flat_map(columns) {
        if !headings.contains(column) {
            headings.push(column);
        }
    }
    headings.extend((!older).then_some(IMPORT));
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
