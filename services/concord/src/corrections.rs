//! Which records of a failures file people have corrected: those that differ from
//! the file as the service writes it, and not only by what a spreadsheet has done
//! to their cells.
//!
//! The token of a row identifies its record. The columns that say where the record
//! stands must not contradict it. The rows of one record are merged cell by cell.

mod places;
mod rewritten;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::{bail, ensure};
use shared::row_token::RowToken;

use crate::{
    csv_source::{FailedRow, REMEDY_OF_QUOTES, Replacement},
    spreadsheet,
};
use places::Names;
pub(crate) use rewritten::{Rewritten, remarks};

/// Faults of a file that are listed, at most.
const LISTED: usize = 100;

/// The columns that identify a record and its parent records. A mistake in one of them
/// turns the row into another record.
const IDS: [&str; 3] = ["source_id", "client_source_id", "owner_source_id"];

/// The columns of dates.
const DATES: [&str; 3] = ["birth_date", "active_from", "active_to"];

/// What was corrected.
#[derive(Debug, Default)]
pub(crate) struct Corrections {
    /// The records that were changed, one for each that failed.
    pub(crate) changed: Vec<Replacement>,
    /// The records that are not among the failures: they came in meanwhile, or an
    /// earlier correction has taken their place.
    pub(crate) unknown: Vec<String>,
    /// The records that were changed, and did not fail.
    pub(crate) not_failed: Vec<String>,
    /// The cells that a spreadsheet has rewritten.
    pub(crate) rewritten: Vec<Rewritten>,
}

/// Refuses rows of the file of another import.
///
/// # Errors
///
/// Names the row, and both imports.
pub(crate) fn check_import(import: &str, corrected: &[FailedRow]) -> anyhow::Result<()> {
    for row in corrected {
        let of = row.import();
        ensure!(
            of.is_empty() || of == import,
            "{}: this row is of the failures file of {of}, and {import} is to be retried: take \
             its own file, or `--retry {of}`",
            row.place()
        );
    }
    Ok(())
}

/// Compares the corrected rows with the original ones of an import. Rows of records
/// that were excluded or skipped are left out.
///
/// # Errors
///
/// Names all rows whose token is missing, altered or that of another row, the values that
/// hold other rows because of a stray quote, the ids that
/// differ and are not marked as changed, and the cells of which two rows of a record
/// have different values. Refuses a file of which no record is among the failures.
pub(crate) fn compare(
    import: &str,
    original: &[FailedRow],
    corrected: &[FailedRow],
) -> anyhow::Result<Corrections> {
    let (records, names) = (records(original), Names::of(original));
    let mut found = Found { import, records, names, ..Found::default() };
    for row in corrected {
        if let Err(fault) = found.take(row) {
            found.fault(&row.place(), &fault);
        }
    }
    ensure!(
        found.known || corrected.is_empty() || !found.faults.is_empty(),
        "none of the records in the file is among the failures of this import"
    );
    found.corrections()
}

/// A record that was not imported, as the service has it.
#[derive(Debug)]
struct Record<'r> {
    row: &'r FailedRow,
    has_failed: bool,
}

/// The records of the service's own file.
fn records(original: &[FailedRow]) -> HashMap<RowToken, Record<'_>> {
    let mut records: HashMap<RowToken, Record<'_>> = HashMap::new();
    for row in original {
        let Some(token) = row.token() else { continue };
        let record = records.entry(token).or_insert(Record { row, has_failed: false });
        record.has_failed |= row.has_failed();
    }
    records
}

/// A value that somebody has given to a cell, and where.
#[derive(Debug)]
struct Change {
    value: String,
    place: String,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found<'r> {
    import: &'r str,
    records: HashMap<RowToken, Record<'r>>,
    names: Names<'r>,
    /// Whether any record is among the failures.
    known: bool,
    changes: BTreeMap<RowToken, BTreeMap<&'static str, Change>>,
    /// In the order of the rows; of each record each cell once.
    rewritten: Vec<(RowToken, Rewritten)>,
    told: HashSet<(RowToken, &'static str)>,
    unknown: BTreeSet<(String, RowToken)>,
    faults: Vec<String>,
}

impl Found<'_> {
    fn fault(&mut self, place: &str, fault: &str) {
        self.faults.push(format!("{place}{fault}"));
    }

    /// Takes a row.
    ///
    /// # Errors
    ///
    /// Says why the row does not identify a record.
    fn take(&mut self, row: &FailedRow) -> Result<(), String> {
        if let Some(column) = self.swallowing(row) {
            return Err(format!(
                ", {column}: a quote is opened in this value, and closed in a later row, which \
                 would be read as part of the value. {REMEDY_OF_QUOTES}"
            ));
        }
        let Some(token) = row.token() else { return Err(without_token(row)) };
        let Some(record) = self.records.get(&token) else {
            if token.place_in(self.import).is_none() {
                return Err(format!(", token: `{token}` is not a token of {}", self.import));
            }
            self.unknown.insert((row.name(), token));
            return Ok(());
        };
        self.known = true;
        let (original, kind) = (record.row, record.row.kind());
        if row.kind() != kind && original.columns().is_empty() {
            return Err(", kind: the record could not be read, and cannot be corrected here: it \
                        needs a new import"
                .to_owned());
        }
        if row.kind() != kind {
            return Err(format!(
                ", kind: the token is that of a row of the kind `{kind}`: were the rows of some \
                 columns alone sorted, or moved? {ANEW}"
            ));
        }
        if let Some(fault) = places::contradiction(original, row, &self.names) {
            return Err(format!(": {fault}. {ANEW}"));
        }
        let marked = row.marked();
        if let Some(other) = marked.iter().find(|name| !original.columns().contains(&&***name)) {
            return Err(format!(
                ", changed: here stand the names of columns of the record, such as `source_id`, \
                 and `{other}` is none"
            ));
        }
        for column in original.columns() {
            let is_marked = marked.iter().any(|name| name == column);
            self.take_cell(&token, column, is_marked, (original, row));
        }
        Ok(())
    }

    /// The column in which the row has other rows of the file in its value, and not because
    /// the record itself has that value.
    fn swallowing<'c>(&self, row: &'c FailedRow) -> Option<&'c str> {
        let record = row.token().and_then(|token| self.records.get(&token));
        let is_own = |column: &str, value: &str| {
            record.is_some_and(|record| spreadsheet::is_same(&record.row.cell(column), value))
        };
        let mut swallowed = row.swallowed();
        swallowed.find(|(column, value)| !is_own(column, value)).map(|(column, _)| column)
    }

    /// Takes a cell of a row beside the original one.
    fn take_cell(
        &mut self,
        token: &RowToken,
        column: &'static str,
        is_marked: bool,
        (original, row): (&FailedRow, &FailedRow),
    ) {
        let (was, is) = (original.cell(column), row.cell(column));
        if spreadsheet::is_same(&was, &is) {
            return;
        }
        if !is_marked && !is_date_at_last(column, &is) {
            if let Some(what) = spreadsheet::rewriting(&was, &is) {
                if self.told.insert((token.clone(), column)) {
                    let cell = Rewritten { place: row.place(), column, was, is, what };
                    self.rewritten.push((token.clone(), cell));
                }
                return;
            }
            if IDS.contains(&column) && !was.trim().is_empty() {
                let fault = format!(
                    ", {column}: `{was}` has become `{is}`. If that is what you want, write \
                     `{column}` into the column `changed` of this row; if not, write `{was}` back"
                );
                self.fault(&row.place(), &fault);
                return;
            }
        }
        let changes = self.changes.entry(token.clone()).or_default();
        match changes.get(column) {
            Some(other) if !spreadsheet::is_same(&other.value, &is) => {
                let fault = format!(
                    ", {column}: the rows of {} differ: `{is}` here, and `{}` in {}; correct all \
                     of them alike, or only one",
                    original.name(),
                    other.value,
                    other.place
                );
                self.fault(&row.place(), &fault);
            }
            Some(_) => {}
            None => {
                changes.insert(column, Change { value: is, place: row.place() });
            }
        }
    }

    fn corrections(mut self) -> anyhow::Result<Corrections> {
        let (mut changed, mut not_failed) = (Vec::new(), BTreeSet::new());
        let by_token = std::mem::take(&mut self.changes);
        for (token, changes) in &by_token {
            let Some(Record { row, has_failed }) = self.records.get(token) else { continue };
            if !has_failed {
                not_failed.insert((row.name(), token.clone()));
                continue;
            }
            let value = |column: &str| changes.get(column).map(|change| change.value.as_str());
            match row.with(value).replacement() {
                Ok(replacement) => changed.extend(replacement),
                Err(error) => {
                    let place = changes.values().next().map(|change| change.place.clone());
                    self.fault(&place.unwrap_or_default(), &format!(": {error:#}"));
                }
            }
        }
        if !self.faults.is_empty() {
            bail!("nothing was sent, because of the corrected file:\n{}", listed(&self.faults));
        }
        // A value that somebody has given in another row of the record counts.
        let is_kept = |(token, cell): &(RowToken, Rewritten)| {
            by_token.get(token).is_none_or(|changes| !changes.contains_key(cell.column))
        };
        let rewritten = self.rewritten.into_iter().filter(is_kept).map(|(_, cell)| cell);
        let names = |names: BTreeSet<(String, RowToken)>| names.into_iter().map(|(name, _)| name);
        Ok(Corrections {
            changed,
            unknown: names(self.unknown).collect(),
            not_failed: names(not_failed).collect(),
            rewritten: rewritten.collect(),
        })
    }
}

const ANEW: &str = "`concord imports failures IMPORT --file FILE` writes the file anew";

fn without_token(row: &FailedRow) -> String {
    match row.token_text().as_str() {
        "" => format!(
            ", token: it is missing, and nothing says which record the row is of. A new record \
             needs a new import; a row is left out by deleting all of it. {ANEW}"
        ),
        text => format!(
            ", token: `{text}` was altered, and nothing says which record the row is of. {ANEW}"
        ),
    }
}

/// Whether a date is written as it must be: a correction of one that was not, and
/// nothing that a spreadsheet has made of one that was.
fn is_date_at_last(column: &str, is: &str) -> bool {
    let is = is.trim();
    DATES.contains(&column) && is.len() == 10 && is.parse::<chrono::NaiveDate>().is_ok()
}

fn listed(faults: &[String]) -> String {
    let mut lines: Vec<_> = faults.iter().take(LISTED).map(|fault| format!("  {fault}")).collect();
    if faults.len() > LISTED {
        lines.push(format!("  and {} more", faults.len() - LISTED));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
