//! Which records of a failures file people have corrected: those that differ from
//! the file as the service writes it, and not only by what a spreadsheet has done
//! to their cells.

mod originals;
mod rewritten;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};

use crate::csv_source::{FailedRow, RecordKey};
use originals::Originals;
use rewritten::{Compared, compared};
pub(crate) use rewritten::{Rewritten, remarks};

/// What was corrected.
#[derive(Debug, Default)]
pub(crate) struct Corrections {
    /// The records that were changed, one for each key, in the order of the keys.
    pub(crate) changed: Vec<FailedRow>,
    /// The records that are not among the failures, in the order of the keys: they
    /// came in meanwhile, or were never there.
    pub(crate) unknown: Vec<RecordKey>,
    /// The records that were changed, and were excluded or skipped.
    pub(crate) not_failed: Vec<RecordKey>,
    /// The cells that a spreadsheet has rewritten, in the order of the keys.
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

/// Compares the corrected rows with the original ones. Rows of records that were
/// excluded or skipped are left out.
///
/// # Errors
///
/// Names a record whose rows were changed in different ways, a source id that may
/// be that of several records, and the dates of changed records that a spreadsheet
/// has rewritten. Refuses a file of which no record is among the failures.
pub(crate) fn compare(
    original: &[FailedRow],
    corrected: &[FailedRow],
) -> anyhow::Result<Corrections> {
    let originals = Originals::new(original, corrected);
    let mut found = Found::default();
    for row in corrected {
        match originals.key_of(row)? {
            Some(key) => found.take(originals.rows(key), key, row)?,
            None => {
                found.unknown.insert(row.key.clone());
            }
        }
    }
    ensure!(
        found.known || corrected.is_empty(),
        "none of the records in the file is among the failures of this import"
    );
    found.corrections()
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// Whether any record is among the failures.
    known: bool,
    changed: BTreeMap<RecordKey, FailedRow>,
    unknown: BTreeSet<RecordKey>,
    not_failed: BTreeSet<RecordKey>,
    /// By record and column: a record has a row for each of its violations.
    rewritten: BTreeMap<(RecordKey, &'static str), Rewritten>,
}

impl Found {
    /// Takes a row of the record with this key, which stands in these rows of the
    /// service's file.
    fn take(
        &mut self,
        originals: &[&FailedRow],
        key: &RecordKey,
        row: &FailedRow,
    ) -> anyhow::Result<()> {
        self.known = true;
        let Some(Compared { changed, rewritten }) = closest(originals, row)? else { return Ok(()) };
        let has_failed = originals.iter().any(|original| original.failed);
        if changed.is_some() && !has_failed {
            self.not_failed.insert(key.clone());
            return Ok(());
        }
        for cell in rewritten {
            self.rewritten.entry((key.clone(), cell.column)).or_insert(cell);
        }
        changed.map_or(Ok(()), |row| keep(&mut self.changed, row))
    }

    fn corrections(self) -> anyhow::Result<Corrections> {
        let Self { known: _, changed, unknown, not_failed, rewritten } = self;
        let lost = rewritten.iter().filter(|((key, _), cell)| {
            // The next failures file would not have the date any more.
            cell.is_date() && changed.contains_key(key)
        });
        let lost: Vec<_> = lost.map(|(_, cell)| cell).collect();
        ensure!(
            lost.is_empty(),
            "a spreadsheet has rewritten dates of records that were corrected, and nothing was \
             sent: write them as 2026-03-01, in a column that is formatted as text\n{}",
            rewritten::listed(&lost)
        );
        Ok(Corrections {
            changed: changed.into_values().collect(),
            unknown: unknown.into_iter().collect(),
            not_failed: not_failed.into_iter().collect(),
            rewritten: rewritten.into_values().collect(),
        })
    }
}

/// The row beside the original row of its record that it is like, or was made
/// from.
fn closest(originals: &[&FailedRow], row: &FailedRow) -> anyhow::Result<Option<Compared>> {
    let mut first = None;
    let (same, other): (Vec<_>, Vec<_>) =
        originals.iter().partition(|original| original.origin() == row.origin());
    for original in same.into_iter().chain(other) {
        let compared = compared(original, row)?;
        if compared.changed.is_none() {
            return Ok(Some(compared));
        }
        first = first.or(Some(compared));
    }
    Ok(first)
}

fn keep(changed: &mut BTreeMap<RecordKey, FailedRow>, row: FailedRow) -> anyhow::Result<()> {
    match changed.get(&row.key) {
        Some(other) if other.record != row.record => bail!(
            "the rows of {} differ: correct all of them alike, or only one ({}, and {})",
            row.key,
            other.place(),
            row.place()
        ),
        Some(_) => {}
        None => {
            changed.insert(row.key.clone(), row);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
