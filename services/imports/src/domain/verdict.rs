//! The verdict on the records that share a key, (kind, source id).
//!
//! A key that is already linked is skipped. The first of identical records is
//! processed. Records that differ all fail, because it is unknown which of them is
//! correct.

use super::enums::Status;

/// The facts about all records of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyFacts {
    /// Whether all of them have the same values.
    pub(crate) identical: bool,
    /// Whether the key is already linked to a record.
    pub(crate) linked: bool,
    /// Whether another record of the import with this key was imported in an earlier
    /// round.
    pub(crate) imported_earlier: bool,
}

/// The verdict on one record of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KeyVerdict {
    /// The result of the record alone is kept.
    Unchanged,
    /// The key is already linked: the record is skipped, whatever its content.
    AlreadyLinked,
    /// An identical record precedes it: skipped, and listed.
    Duplicate,
    /// Another record of the key has different values: failed.
    Conflict,
}

/// Computes the verdict on one record of a key. `own` is the status of the record by
/// itself; `first` is true if no record of the key precedes it.
pub(crate) fn judge_key(own: Status, first: bool, key: KeyFacts) -> KeyVerdict {
    match key {
        // A correction that reuses the key of another record must not be dropped
        // silently.
        KeyFacts { imported_earlier: true, identical: false, .. } if own != Status::Excluded => {
            KeyVerdict::Conflict
        }
        KeyFacts { linked: true, identical: true, .. } if !first => KeyVerdict::Duplicate,
        KeyFacts { linked: true, .. } => KeyVerdict::AlreadyLinked,
        _ if own == Status::Excluded => KeyVerdict::Unchanged,
        KeyFacts { identical: true, .. } if first => KeyVerdict::Unchanged,
        KeyFacts { identical: true, .. } => KeyVerdict::Duplicate,
        KeyFacts { identical: false, .. } => KeyVerdict::Conflict,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A record of the key: its values, and the status that they lead to.
    type Record = (u8, Status);

    fn judge_all(records: &[Record], linked: bool) -> Vec<(Record, KeyVerdict)> {
        let values: BTreeSet<u8> = records.iter().map(|(value, _)| *value).collect();
        let key = KeyFacts { identical: values.len() <= 1, linked, imported_earlier: false };
        let judge = |(at, record): (usize, &Record)| (*record, judge_key(record.1, at == 0, key));
        records.iter().enumerate().map(judge).collect()
    }

    /// Equal values lead to equal issues.
    fn records() -> impl Strategy<Value = Vec<Record>> {
        let own = [Status::Ready, Status::Excluded, Status::Failed];
        prop::collection::vec(0_u8..4, 1..8).prop_map(move |values| {
            values.into_iter().map(|value| (value, own[usize::from(value) % 3])).collect()
        })
    }

    proptest! {
        #[test]
        fn result_is_independent_of_record_order(
            (records, shuffled) in records()
                .prop_flat_map(|records| (Just(records.clone()), Just(records).prop_shuffle())),
            linked: bool,
        ) {
            let mut one = judge_all(&records, linked);
            let mut other = judge_all(&shuffled, linked);
            one.sort_unstable();
            other.sort_unstable();
            prop_assert_eq!(one, other);
        }

        #[test]
        fn at_most_one_record_per_key_is_applied(records in records(), linked: bool) {
            let verdicts = judge_all(&records, linked);
            let applied = verdicts.iter().filter(|((_, own), verdict)| {
                *own == Status::Ready && *verdict == KeyVerdict::Unchanged
            });
            let applied = applied.count();
            prop_assert!(applied <= 1);
            prop_assert!(applied == 0 || !linked);
        }
    }

    #[test]
    fn first_equal_record_is_applied_conflicting_records_fail() {
        let (ready, key) =
            (Status::Ready, KeyFacts { identical: true, linked: false, imported_earlier: false });
        assert_eq!(judge_key(ready, true, key), KeyVerdict::Unchanged);
        assert_eq!(judge_key(ready, false, key), KeyVerdict::Duplicate);
        let differ = KeyFacts { identical: false, linked: false, imported_earlier: false };
        assert_eq!(judge_key(ready, true, differ), KeyVerdict::Conflict);
    }

    #[test]
    fn linked_key_is_skipped_even_if_invalid_or_excluded() {
        let linked = KeyFacts { identical: true, linked: true, imported_earlier: false };
        assert_eq!(judge_key(Status::Failed, true, linked), KeyVerdict::AlreadyLinked);
        assert_eq!(judge_key(Status::Excluded, true, linked), KeyVerdict::AlreadyLinked);
    }

    #[test]
    fn record_that_conflicts_with_an_imported_one_fails() {
        let taken = KeyFacts { identical: false, linked: true, imported_earlier: true };
        assert_eq!(judge_key(Status::Ready, true, taken), KeyVerdict::Conflict);
        assert_eq!(judge_key(Status::Failed, true, taken), KeyVerdict::Conflict);
        let equal = KeyFacts { identical: true, ..taken };
        assert_eq!(judge_key(Status::Ready, true, equal), KeyVerdict::AlreadyLinked);
    }

    #[test]
    fn conflicting_excluded_records_stay_excluded() {
        let differ = KeyFacts { identical: false, linked: false, imported_earlier: false };
        assert_eq!(judge_key(Status::Excluded, false, differ), KeyVerdict::Unchanged);
    }
}
