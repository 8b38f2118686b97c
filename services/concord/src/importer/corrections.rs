//! Finds the corrected records of a failures file: those that differ from the file that the
//! service writes. Conversions that a spreadsheet makes by itself are not corrections.
//!
//! The token of a row identifies its record. The batch, row and name columns must match it.
//! The rows of one record are merged cell by cell.

mod rewritten_cell;
mod row_identity;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::{bail, ensure};
use concord_core::row_token::RowToken;

use super::{
    csv_source::{FailedRow, REMEDY_OF_QUOTES, Replacement},
    spreadsheet,
};
pub(crate) use rewritten_cell::{RewrittenCell, remarks};
use row_identity::Names;

/// The maximum number of listed errors.
const MAX_LISTED: usize = 100;

/// The columns that identify a record and its parent records. A mistake in one of them
/// turns the row into another record.
const IDS: [&str; 3] = ["source_id", "client_source_id", "owner_source_id"];

/// The date columns.
const DATES: [&str; 3] = ["birth_date", "active_from", "active_to"];

/// The result of the comparison of a corrected file with the original one.
#[derive(Debug, Default)]
pub(crate) struct Corrections {
    /// The failed records that were changed.
    pub(crate) changed: Vec<Replacement>,
    /// The records that are not among the failures: they were imported meanwhile, or an
    /// earlier correction replaced them.
    pub(crate) unknown: Vec<String>,
    /// The records that were changed and did not fail.
    pub(crate) not_failed: Vec<String>,
    /// The cells that a spreadsheet converted.
    pub(crate) rewritten: Vec<RewrittenCell>,
}

/// Rejects rows of the failures file of another import.
///
/// # Errors
///
/// Names the row, and both imports.
pub(crate) fn check_import(import: &str, corrected: &[FailedRow]) -> anyhow::Result<()> {
    for row in corrected {
        let of = row.import();
        ensure!(
            of.is_empty() || of == import,
            "{}: this row is from the failures file of {of}, and {import} is retried: use the \
             file of {import}, or `--retry {of}`",
            row.location()
        );
    }
    Ok(())
}

/// Compares the corrected rows with the original ones of an import. Rows of records
/// that were excluded or skipped are left out.
///
/// # Errors
///
/// Lists all rows whose token is missing, altered or that of another row; the values that
/// contain other rows because of a stray quote; the ids that differ and are not marked as
/// changed; and the cells for which two rows of a record have different values. Rejects a
/// file of which no record is among the failures.
pub(crate) fn compare(
    import: &str,
    original: &[FailedRow],
    corrected: &[FailedRow],
) -> anyhow::Result<Corrections> {
    let (records, names) = (records(original), Names::of(original));
    let mut comparison = Comparison { import, records, names, ..Comparison::default() };
    for row in corrected {
        if let Err(error) = comparison.add_row(row) {
            comparison.add_error(&row.location(), &error);
        }
    }
    ensure!(
        comparison.any_known || corrected.is_empty() || !comparison.errors.is_empty(),
        "none of the records in the file is among the failures of this import"
    );
    comparison.into_corrections()
}

/// A record that was not imported, from the file of the service.
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

/// A changed value of a cell, and its location in the file.
#[derive(Debug)]
struct Change {
    value: String,
    location: String,
}

/// The state of the comparison.
#[derive(Debug, Default)]
struct Comparison<'r> {
    import: &'r str,
    records: HashMap<RowToken, Record<'r>>,
    names: Names<'r>,
    /// Whether any row is of a record among the failures.
    any_known: bool,
    changes: BTreeMap<RowToken, BTreeMap<&'static str, Change>>,
    /// In the order of the rows; each cell of a record once.
    rewritten: Vec<(RowToken, RewrittenCell)>,
    reported: HashSet<(RowToken, &'static str)>,
    unknown: BTreeSet<(String, RowToken)>,
    errors: Vec<String>,
}

impl Comparison<'_> {
    fn add_error(&mut self, location: &str, error: &str) {
        self.errors.push(format!("{location}{error}"));
    }

    /// Compares a row with the original row of its record.
    ///
    /// # Errors
    ///
    /// Says why the row does not identify a record.
    fn add_row(&mut self, row: &FailedRow) -> Result<(), String> {
        if let Some(column) = self.column_with_rows(row) {
            return Err(format!(
                ", {column}: a quote is opened in this value, and closed in a later row, which \
                 would be read as part of the value. {REMEDY_OF_QUOTES}"
            ));
        }
        let Some(token) = row.token() else { return Err(without_token(row)) };
        let Some(record) = self.records.get(&token) else {
            if token.position_in(self.import).is_none() {
                return Err(format!(", token: `{token}` is not a token of {}", self.import));
            }
            self.unknown.insert((row.name(), token));
            return Ok(());
        };
        self.any_known = true;
        let (original, kind) = (record.row, record.row.kind());
        if row.kind() != kind && original.columns().is_empty() {
            return Err(", kind: the record could not be read, and cannot be corrected in this \
                        file: it needs a new import"
                .to_owned());
        }
        if row.kind() != kind {
            return Err(format!(
                ", kind: the token is that of a row of the kind `{kind}`: were only some columns \
                 sorted or moved? {REWRITE_FILE}"
            ));
        }
        if let Some(error) = row_identity::mismatch(original, row, &self.names) {
            return Err(format!(": {error}. {REWRITE_FILE}"));
        }
        let marked = row.marked();
        if let Some(other) = marked.iter().find(|name| !original.columns().contains(&&***name)) {
            return Err(format!(
                ", changed: this column takes names of columns of the record, such as \
                 `source_id`, and `{other}` is none"
            ));
        }
        for column in original.columns() {
            let is_marked = marked.iter().any(|name| name == column);
            self.compare_cell(&token, column, is_marked, (original, row));
        }
        Ok(())
    }

    /// The column whose value contains other rows of the file because of a stray quote. A
    /// value that the record itself has does not count.
    fn column_with_rows<'c>(&self, row: &'c FailedRow) -> Option<&'c str> {
        let record = row.token().and_then(|token| self.records.get(&token));
        let is_own = |column: &str, value: &str| {
            record.is_some_and(|record| spreadsheet::is_same(&record.row.cell(column), value))
        };
        let mut values = row.values_with_rows();
        values.find(|(column, value)| !is_own(column, value)).map(|(column, _)| column)
    }

    /// Compares a cell of a row with the original one.
    fn compare_cell(
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
        if !is_marked && !is_corrected_date(column, &is) {
            if let Some(what) = spreadsheet::detect_conversion(&was, &is) {
                if self.reported.insert((token.clone(), column)) {
                    let cell = RewrittenCell { location: row.location(), column, was, is, what };
                    self.rewritten.push((token.clone(), cell));
                }
                return;
            }
            if IDS.contains(&column) && !was.trim().is_empty() {
                let error = format!(
                    ", {column}: `{was}` was changed to `{is}`. If this is intended, write \
                     `{column}` into the column `changed` of this row; if not, restore `{was}`"
                );
                self.add_error(&row.location(), &error);
                return;
            }
        }
        let changes = self.changes.entry(token.clone()).or_default();
        match changes.get(column) {
            Some(other) if !spreadsheet::is_same(&other.value, &is) => {
                let error = format!(
                    ", {column}: the rows of {} differ: `{is}` here, and `{}` in {}; write the \
                     same value in all of them, or change only one",
                    original.name(),
                    other.value,
                    other.location
                );
                self.add_error(&row.location(), &error);
            }
            Some(_) => {}
            None => {
                changes.insert(column, Change { value: is, location: row.location() });
            }
        }
    }

    fn into_corrections(mut self) -> anyhow::Result<Corrections> {
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
                    let location = changes.values().next().map(|change| change.location.clone());
                    self.add_error(&location.unwrap_or_default(), &format!(": {error:#}"));
                }
            }
        }
        if !self.errors.is_empty() {
            bail!("nothing was sent, because of the corrected file:\n{}", listed(&self.errors));
        }
        // A change in another row of the record takes precedence over a conversion.
        let is_kept = |(token, cell): &(RowToken, RewrittenCell)| {
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

const REWRITE_FILE: &str = "`concord imports failures IMPORT --file FILE` writes the file again";

fn without_token(row: &FailedRow) -> String {
    match row.token_text().as_str() {
        "" => format!(
            ", token: it is missing, and the record of the row is unknown. A new record needs a \
             new import; to omit a row, delete all of it. {REWRITE_FILE}"
        ),
        text => format!(
            ", token: `{text}` was altered, and the record of the row is unknown. {REWRITE_FILE}"
        ),
    }
}

/// Whether a date column has a date in the required format. Such a value is a correction, and
/// not a conversion by a spreadsheet.
fn is_corrected_date(column: &str, is: &str) -> bool {
    let is = is.trim();
    DATES.contains(&column) && is.len() == 10 && is.parse::<chrono::NaiveDate>().is_ok()
}

fn listed(errors: &[String]) -> String {
    let listed = errors.iter().take(MAX_LISTED);
    let mut lines: Vec<_> = listed.map(|error| format!("  {error}")).collect();
    if errors.len() > MAX_LISTED {
        lines.push(format!("  and {} more", errors.len() - MAX_LISTED));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
