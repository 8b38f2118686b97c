//! The failures as the service has them, and which of them a corrected row is of.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;

use crate::{
    csv_source::{FailedRow, RecordKey},
    spreadsheet::{self, Rewriting},
};

/// A kind of record, and digits.
type Number<'r> = (&'static str, &'r str);

/// Where a record was in its import: its kind, the batch, and the row.
type Origin = (&'static str, String, String);

/// The rows of the service's own file, by what they can be found by.
pub(super) struct Originals<'r> {
    rows: BTreeMap<&'r RecordKey, Vec<&'r FailedRow>>,
    /// The keys whose source ids are numbers, by their digits without the leading
    /// zeros.
    numbers: BTreeMap<Number<'r>, BTreeSet<&'r RecordKey>>,
    origins: BTreeMap<Origin, &'r RecordKey>,
    /// The keys that stand in the corrected file as they are.
    whole: BTreeSet<&'r RecordKey>,
}

impl<'r> Originals<'r> {
    pub(super) fn new(original: &'r [FailedRow], corrected: &'r [FailedRow]) -> Self {
        let (mut rows, mut numbers) = (BTreeMap::new(), BTreeMap::new());
        let mut origins = BTreeMap::new();
        for row in original {
            let key = &row.key;
            rows.entry(key).or_insert_with(Vec::new).push(row);
            if let Some(digits) = spreadsheet::digits(&key.source_id) {
                numbers.entry((key.kind, digits)).or_insert_with(BTreeSet::new).insert(key);
            }
            origins.insert(origin(row), key);
        }
        let whole = corrected.iter().map(|row| &row.key).collect();
        Self { rows, numbers, origins, whole }
    }

    /// The rows of a record.
    pub(super) fn rows(&self, key: &RecordKey) -> &[&'r FailedRow] {
        self.rows.get(key).map_or(&[], Vec::as_slice)
    }

    /// The record that a corrected row is of: the one with its source id, or the
    /// one whose source id a spreadsheet writes so.
    ///
    /// # Errors
    ///
    /// Names the records when several fit.
    pub(super) fn key_of(&self, row: &FailedRow) -> anyhow::Result<Option<&'r RecordKey>> {
        let fits = |key: &RecordKey| key == &row.key || is_written_as(key, &row.key);
        // The batch and the row tell apart what a spreadsheet has made equal.
        if let Some(key) = self.origins.get(&origin(row)).filter(|key| fits(key)) {
            return Ok(Some(key));
        }
        let exact = self.rows.get_key_value(&row.key).map(|(key, _)| *key);
        let rewritten =
            self.written_as(&row.key).into_iter().filter(|key| !self.whole.contains(key));
        let fitting: Vec<_> = exact.into_iter().chain(rewritten).collect();
        match fitting.as_slice() {
            [] => Ok(None),
            [key] => Ok(Some(key)),
            several => bail!(
                "{}: the source id `{}` may be that of {}: a spreadsheet has taken it for a \
                 number; format the column source_id as text, and write it as it was",
                row.place(),
                row.key.source_id,
                several.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
            ),
        }
    }

    /// The keys that a spreadsheet writes as this one.
    fn written_as(&self, key: &RecordKey) -> Vec<&'r RecordKey> {
        let is_it = |other: &&'r RecordKey| is_written_as(other, key);
        if spreadsheet::is_scientific(&key.source_id) {
            return self.rows.keys().copied().filter(is_it).collect();
        }
        let numbers = self.numbers.get(&(key.kind, &*key.source_id)).into_iter().flatten();
        numbers.copied().filter(is_it).collect()
    }
}

fn origin(row: &FailedRow) -> Origin {
    let (batch, number) = row.origin();
    (row.key.kind, batch, number)
}

fn is_written_as(key: &RecordKey, other: &RecordKey) -> bool {
    key.kind == other.kind
        && spreadsheet::rewriting(&key.source_id, &other.source_id) == Some(Rewriting::Number)
}
