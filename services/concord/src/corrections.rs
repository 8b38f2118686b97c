//! Which records of a failures file people have corrected: those that differ from
//! the file as the service writes it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use bytes::Bytes;

use crate::csv_source::{FailedRow, RecordKey};

/// What was corrected.
#[derive(Debug, Default)]
pub(crate) struct Corrections {
    /// The records that were changed, one for each key, in the order of the keys.
    pub(crate) changed: Vec<FailedRow>,
    /// The records that are not among the failures, in the order of the keys: they
    /// came in meanwhile, or are of another import.
    pub(crate) unknown: Vec<RecordKey>,
}

/// Compares the corrected rows with the original ones. Rows of records that were
/// excluded or skipped are left out.
///
/// # Errors
///
/// Names a record whose rows were changed in different ways. Refuses a file of
/// which no record is among the failures.
pub(crate) fn compare(
    original: &[FailedRow],
    corrected: Vec<FailedRow>,
) -> anyhow::Result<Corrections> {
    let mut failed: BTreeMap<&RecordKey, BTreeSet<&Bytes>> = BTreeMap::new();
    for row in original.iter().filter(|row| row.failed) {
        failed.entry(&row.key).or_default().insert(&row.record);
    }
    let known: BTreeSet<_> = original.iter().map(|row| &row.key).collect();
    ensure!(
        corrected.iter().any(|row| known.contains(&row.key)),
        "none of the records in the file is among the failures of this import"
    );
    let mut changed: BTreeMap<RecordKey, FailedRow> = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    for row in corrected {
        match failed.get(&row.key) {
            Some(records) if records.contains(&row.record) => {}
            Some(_) => keep(&mut changed, row)?,
            None if known.contains(&row.key) => {}
            None => {
                unknown.insert(row.key);
            }
        }
    }
    Ok(Corrections {
        changed: changed.into_values().collect(),
        unknown: unknown.into_iter().collect(),
    })
}

fn keep(changed: &mut BTreeMap<RecordKey, FailedRow>, row: FailedRow) -> anyhow::Result<()> {
    match changed.get(&row.key) {
        Some(other) if other.record != row.record => bail!(
            "the rows of {} differ: correct all of them alike, or only one ({}, and {})",
            row.key,
            other.place,
            row.place
        ),
        Some(_) => {}
        None => {
            changed.insert(row.key.clone(), row);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(source_id: &str, failed: bool, record: &'static str) -> FailedRow {
        let key = RecordKey { kind: "client", source_id: source_id.to_owned() };
        let place = format!("f.csv, line of {record}");
        FailedRow { key, failed, record: Bytes::from_static(record.as_bytes()), place }
    }

    fn changed(original: &[FailedRow], corrected: Vec<FailedRow>) -> Vec<Bytes> {
        let changed = compare(original, corrected).unwrap().changed;
        changed.into_iter().map(|row| row.record).collect()
    }

    #[test]
    fn of_the_rows_of_a_record_the_changed_one_counts() {
        let original = [row("C1", true, "a"), row("C1", true, "a"), row("C2", true, "b")];
        let corrected = vec![row("C2", true, "b"), row("C1", true, "a"), row("C1", true, "new")];
        assert_eq!(changed(&original, corrected), ["new"]);
        let alike = vec![row("C1", true, "new"), row("C1", true, "new")];
        assert_eq!(changed(&original, alike), ["new"]);
        assert!(changed(&original, original.to_vec()).is_empty());
    }

    #[test]
    fn records_of_one_key_that_were_different_may_stay_so() {
        let original = [row("C1", true, "a"), row("C1", true, "b")];
        assert!(changed(&original, original.to_vec()).is_empty());
    }

    #[test]
    fn rows_that_were_changed_in_different_ways_are_named() {
        let original = [row("C1", true, "a")];
        let corrected = vec![row("C1", true, "one"), row("C1", true, "other")];
        let refused = compare(&original, corrected).unwrap_err().to_string();
        let expected = "the rows of client C1 differ: correct all of them alike, or only one \
                        (f.csv, line of one, and f.csv, line of other)";
        assert_eq!(refused, expected);
    }

    #[test]
    fn what_did_not_fail_is_left_out_and_what_is_not_there_is_named() {
        let original = [row("C1", false, "a"), row("C2", true, "b")];
        let corrected = vec![row("C1", false, "new"), row("C2", true, "b"), row("C9", true, "c")];
        let found = compare(&original, corrected).unwrap();
        assert!(found.changed.is_empty());
        assert_eq!(found.unknown[0].to_string(), "client C9");
        let refused = compare(&original, vec![row("C9", true, "c")]).unwrap_err().to_string();
        assert!(refused.contains("none of the records"), "{refused}");
    }
}
