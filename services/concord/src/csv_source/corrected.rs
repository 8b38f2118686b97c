//! Reads a failures file: the records in it, as the service wrote them or as
//! people corrected them. Its columns are those of all kinds of record together,
//! and those that say what is wrong, which are not read.

use std::{fmt, path::Path};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use csv::StringRecord;
use shared::pb::imports::{ContactClient, ImportContact, import_record::Record};

use super::{
    address, client, encode, group,
    read::{Row, Rows, TableKind, columns, headings},
};

/// The column that names the cells which an apostrophe was put before.
const GUARDED: &str = "guarded";

/// What a record is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordKey {
    /// `client`, `contact` or `address`.
    pub(crate) kind: &'static str,
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
        let source_id = row.text("source_id");
        let kind = match row.text("kind").trim().to_ascii_lowercase().as_str() {
            "client" => "client",
            "contact" => "contact",
            "address" => "address",
            "" => return Ok(None),
            other => bail!("{}: the kind is client, contact or address, not {other}", row.place()),
        };
        Ok((!source_id.trim().is_empty()).then_some(Self { kind, source_id }))
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
    /// The file and the line, for people.
    pub(crate) place: String,
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
    let headings = headings(rows.next()?.with_context(|| format!("{} is empty", path.display()))?);
    check_headings(path, &headings)?;
    let (mut found, mut without_key) = (Vec::new(), 0);
    rows.each_below(&headings, |row| {
        let cells = unguarded(row);
        let row = Row { cells: &cells, ..row };
        match RecordKey::of(row)? {
            Some(key) => found.push(failed_row(row, key)?),
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
    for column in ["kind", "status", GUARDED].iter().chain(fields) {
        let places = headings.iter().filter(|heading| heading == column).count();
        ensure!(places < 2, "{}: the column `{column}` stands there twice", path.display());
        let name = format!("`{column}`");
        if places == 0 && !missing.contains(&name) {
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

fn failed_row(row: Row<'_>, key: RecordKey) -> anyhow::Result<FailedRow> {
    let record = match key.kind() {
        TableKind::Clients => client(row),
        TableKind::Addresses => address(row),
        TableKind::Contacts => Record::Contact(contact(row)?),
    };
    Ok(FailedRow {
        key,
        failed: row.text("status").trim().eq_ignore_ascii_case("failed"),
        record: encode(record).with_context(|| row.place())?,
        place: row.place(),
    })
}

/// A person with all of its clients: `C1;C2`, and the roles at each of them,
/// `DIRECTOR;PSC|PARTNER`.
fn contact(row: Row<'_>) -> anyhow::Result<ImportContact> {
    let person = group::contact_row(row).person;
    let (ids, roles) = (row.text("client_source_id"), row.text("roles"));
    let roles: Vec<Vec<String>> = roles.split('|').map(words).collect();
    // Of one client there may be anything in its id.
    let ids = if roles.len() == 1 { vec![ids.trim().to_owned()] } else { words(&ids) };
    ensure!(
        ids.len() == roles.len(),
        "{}: {} clients, and roles of {}; roles of two clients are written as DIRECTOR|PSC",
        row.place(),
        ids.len(),
        roles.len()
    );
    let clients = ids.into_iter().zip(roles);
    let clients =
        clients.map(|(client_source_id, roles)| ContactClient { client_source_id, roles });
    Ok(ImportContact { clients: clients.collect(), ..person })
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(';').map(str::trim).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use shared::pb::imports::ImportRecord;

    use super::*;

    const HEADINGS: &str = "status,kind,source_id,client_reference,guarded,client_type,\
        registered_name,trading_name,company_number,utr,vat_number,paye_reference,title,forename,\
        surname,birth_date,email,phone,client_source_id,roles,middle_names,owner_kind,\
        owner_source_id,type,line_1,line_2,line_3,town,county,postcode,country,active_from,\
        active_to";

    /// A file with rows of these values, by column.
    fn read(rows: &[&[(&str, &str)]]) -> anyhow::Result<(Vec<FailedRow>, usize)> {
        let mut text = format!("\u{feff}{HEADINGS}\r\n");
        for row in rows {
            let cell =
                |heading| row.iter().find(|(name, _)| *name == heading).map_or("", |it| it.1);
            let cells: Vec<_> = HEADINGS.split(',').map(cell).collect();
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.csv");
        std::fs::write(&path, text).unwrap();
        failed_rows(&path)
    }

    fn only(row: &[(&str, &str)]) -> Record {
        let record = read(&[row]).unwrap().0.remove(0).record;
        ImportRecord::decode(record).unwrap().record.unwrap()
    }

    #[test]
    fn a_guard_is_taken_away_once_and_only_where_it_was_put() {
        let record = only(&[
            ("kind", "client"),
            ("source_id", "C1"),
            ("registered_name", "''=1"),
            ("trading_name", "'Ndrangheta"),
            ("phone", "+44"),
            ("guarded", "record_name;registered_name;phone"),
        ]);
        let Record::Client(client) = record else { panic!("{record:?}") };
        assert_eq!(
            [client.registered_name, client.trading_name, client.phone],
            ["'=1", "'Ndrangheta", "+44"]
        );
    }

    #[test]
    fn a_contact_has_all_of_its_clients() {
        let person = [("kind", "Contact"), ("source_id", "P1"), ("client_source_id", "C1;C2")];
        let record = only(&[&person[..], &[("roles", "DIRECTOR;PSC|")]].concat());
        let Record::Contact(contact) = record else { panic!("{record:?}") };
        let clients =
            contact.clients.iter().map(|at| (at.client_source_id.as_str(), at.roles.len()));
        assert_eq!(clients.collect::<Vec<_>>(), [("C1", 2), ("C2", 0)]);
        let uneven = read(&[&[&person[..], &[("roles", "A|B|C")]].concat()]).unwrap_err();
        assert!(uneven.to_string().contains("line 2: 2 clients, and roles of 3"), "{uneven}");
    }

    #[test]
    fn rows_without_a_key_are_counted() {
        let (rows, without) = read(&[
            &[("kind", "client"), ("status", "failed")],
            &[("status", "failed"), ("source_id", "x")],
            &[("kind", "client"), ("source_id", "C2"), ("status", "Failed")],
            &[("kind", "client"), ("source_id", "C3"), ("status", "skipped")],
        ])
        .unwrap();
        assert_eq!(without, 2);
        assert_eq!(rows.iter().map(|row| row.failed).collect::<Vec<_>>(), [true, false]);
        assert_eq!(rows[0].key.to_string(), "client C2");
    }

    #[test]
    fn another_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients.csv");
        std::fs::write(&path, "source_id,client_reference,client_type\nC1,R1,TRUST\n").unwrap();
        let refused = failed_rows(&path).unwrap_err().to_string();
        assert!(refused.contains("more columns: `kind`, `status`, `guarded`"), "{refused}");
        let kind = read(&[&[("kind", "person"), ("source_id", "P1")]]).unwrap_err();
        assert!(kind.to_string().contains("not person"), "{kind}");
    }
}
