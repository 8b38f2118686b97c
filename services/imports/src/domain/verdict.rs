//! The verdict on the records of one key: (kind, source id).
//!
//! A key that the records service knows is skipped. Of records that are alike
//! the first one counts; records that differ all fail, because nobody can say
//! which of them is right.

use super::words::Status;

/// What is known of all records of a key together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyFacts {
    /// Whether all of them have the same values.
    pub(crate) alike: bool,
    /// Whether the key is linked to a record already.
    pub(crate) linked: bool,
    /// Whether another record of the import has brought that in, in an earlier round.
    pub(crate) earlier: bool,
}

/// The verdict on one record of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KeyVerdict {
    /// What was found of the record alone stays.
    Stands,
    /// The key is linked already: skipped, whatever the record holds.
    Known,
    /// A record with the same values was there before: skipped, and listed.
    Repeated,
    /// Another record of the key has other values: failed.
    Contradicts,
}

/// Judges one record of a key. `own` is what was found of it alone; `first` says
/// that no record of the key was judged before it.
pub(crate) fn judge_key(own: Status, first: bool, key: KeyFacts) -> KeyVerdict {
    match key {
        // A correction that takes the key of another record is not lost in silence.
        KeyFacts { earlier: true, alike: false, .. } if own != Status::Excluded => {
            KeyVerdict::Contradicts
        }
        KeyFacts { linked: true, alike: true, .. } if !first => KeyVerdict::Repeated,
        KeyFacts { linked: true, .. } => KeyVerdict::Known,
        _ if own == Status::Excluded => KeyVerdict::Stands,
        KeyFacts { alike: true, .. } if first => KeyVerdict::Stands,
        KeyFacts { alike: true, .. } => KeyVerdict::Repeated,
        KeyFacts { alike: false, .. } => KeyVerdict::Contradicts,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A record of the key: its values, and what they lead to alone.
    type Record = (u8, Status);

    fn judge_all(records: &[Record], linked: bool) -> Vec<(Record, KeyVerdict)> {
        let values: BTreeSet<u8> = records.iter().map(|(value, _)| *value).collect();
        let key = KeyFacts { alike: values.len() <= 1, linked, earlier: false };
        let judge = |(at, record): (usize, &Record)| (*record, judge_key(record.1, at == 0, key));
        records.iter().enumerate().map(judge).collect()
    }

    /// Equal values lead to equal findings.
    fn records() -> impl Strategy<Value = Vec<Record>> {
        let own = [Status::Ready, Status::Excluded, Status::Failed];
        prop::collection::vec(0_u8..4, 1..8).prop_map(move |values| {
            values.into_iter().map(|value| (value, own[usize::from(value) % 3])).collect()
        })
    }

    proptest! {
        #[test]
        fn the_order_of_the_records_does_not_matter(
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
        fn at_most_one_record_of_a_key_is_applied(records in records(), linked: bool) {
            let verdicts = judge_all(&records, linked);
            let applied = verdicts.iter().filter(|((_, own), verdict)| {
                *own == Status::Ready && *verdict == KeyVerdict::Stands
            });
            let applied = applied.count();
            prop_assert!(applied <= 1);
            prop_assert!(applied == 0 || !linked);
        }
    }

    #[test]
    fn of_equal_records_the_first_counts_and_of_different_ones_none() {
        let (ready, key) = (Status::Ready, KeyFacts { alike: true, linked: false, earlier: false });
        assert_eq!(judge_key(ready, true, key), KeyVerdict::Stands);
        assert_eq!(judge_key(ready, false, key), KeyVerdict::Repeated);
        let differ = KeyFacts { alike: false, linked: false, earlier: false };
        assert_eq!(judge_key(ready, true, differ), KeyVerdict::Contradicts);
    }

    #[test]
    fn a_known_key_is_skipped_even_when_its_record_is_wrong_or_excluded() {
        let linked = KeyFacts { alike: true, linked: true, earlier: false };
        assert_eq!(judge_key(Status::Failed, true, linked), KeyVerdict::Known);
        assert_eq!(judge_key(Status::Excluded, true, linked), KeyVerdict::Known);
    }

    #[test]
    fn a_record_with_the_key_and_other_values_of_an_imported_one_fails() {
        let taken = KeyFacts { alike: false, linked: true, earlier: true };
        assert_eq!(judge_key(Status::Ready, true, taken), KeyVerdict::Contradicts);
        assert_eq!(judge_key(Status::Failed, true, taken), KeyVerdict::Contradicts);
        let equal = KeyFacts { alike: true, ..taken };
        assert_eq!(judge_key(Status::Ready, true, equal), KeyVerdict::Known);
    }

    #[test]
    fn excluded_records_stay_excluded_though_they_differ() {
        let differ = KeyFacts { alike: false, linked: false, earlier: false };
        assert_eq!(judge_key(Status::Excluded, false, differ), KeyVerdict::Stands);
    }
}
