use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn day(n: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2020, 1, 1).unwrap() + chrono::Days::new(u64::from(n))
}

fn dated(source_id: &str, from: Option<u32>, to: Option<u32>) -> DatedAddress {
    let period = Period::new(from.map(day), to.map(day));
    DatedAddress { source_id: source_id.to_owned(), period }
}

/// The rule by pairwise comparison, as a test oracle.
fn oracle(rows: &[DatedAddress]) -> Vec<ResolvedPeriod> {
    let end = |row: &DatedAddress| {
        let starts = rows.iter().filter_map(|other| other.period.from);
        let next = starts.filter(|start| row.period.from.is_none_or(|from| *start > from)).min();
        row.period.to.or(next)
    };
    let overlap = |a: &DatedAddress, b: &DatedAddress| {
        let holds_none = (0..200).map(day).chain([NaiveDate::MIN]).all(|day| {
            let holds = |row: &DatedAddress| {
                row.period.from.is_none_or(|from| day >= from)
                    && end(row).is_none_or(|end| day < end)
            };
            !(holds(a) && holds(b))
        });
        a.source_id != b.source_id && !holds_none
    };
    let result = |row: &DatedAddress| {
        let others = rows.iter().filter(|other| overlap(row, other));
        let others: BTreeSet<_> = others.map(|other| other.source_id.clone()).collect();
        ResolvedPeriod {
            ends: end(row),
            overlaps_more: others.len() > MAX_NAMES,
            overlaps: others.into_iter().take(MAX_NAMES).collect(),
        }
    };
    rows.iter().map(result).collect()
}

fn row() -> impl Strategy<Value = DatedAddress> {
    let from = prop::option::weighted(0.8, 0_u32..60);
    (0_u8..12, from, prop::option::of(1_u32..40)).prop_map(|(name, from, length)| {
        let to = length.map(|length| from.unwrap_or(20) + length);
        dated(&format!("A{name}"), from, to)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn sweep_equals_pairwise_comparison(rows in prop::collection::vec(row(), 0..14)) {
        prop_assert_eq!(judge_timeline(&rows), oracle(&rows));
    }

    #[test]
    fn result_is_independent_of_row_order(
        (rows, order) in prop::collection::vec(row(), 0..12).prop_flat_map(|rows| {
            let order: Vec<usize> = (0..rows.len()).collect();
            (Just(rows), Just(order).prop_shuffle())
        }),
    ) {
        let results = judge_timeline(&rows);
        let shuffled: Vec<_> = order.iter().map(|at| rows[*at].clone()).collect();
        for (result, at) in judge_timeline(&shuffled).iter().zip(order) {
            prop_assert_eq!(result, &results[at]);
        }
    }

    #[test]
    fn overlap_is_reported_for_both_rows(rows in prop::collection::vec(row(), 0..6)) {
        let results = judge_timeline(&rows);
        for (row, result) in rows.iter().zip(&results) {
            for name in &result.overlaps {
                let named_back = rows.iter().zip(&results).any(|(other, result)| {
                    other.source_id == *name && result.overlaps.contains(&row.source_id)
                });
                prop_assert!(named_back || result.overlaps_more);
            }
        }
    }
}

#[test]
fn blank_end_becomes_the_next_start() {
    let rows = [dated("A", Some(1), None), dated("B", Some(9), None), dated("C", None, None)];
    let results = judge_timeline(&rows);
    assert_eq!(results[0].ends, Some(day(9)));
    assert_eq!(results[1].ends, None);
    assert_eq!(results[2].ends, Some(day(1)));
    assert!(results.iter().all(|result| result.overlaps.is_empty()));
}

#[test]
fn equal_or_unknown_starts_overlap() {
    let rows = [dated("A", None, None), dated("B", None, Some(3))];
    assert_eq!(judge_timeline(&rows)[0].overlaps, ["B"]);
    let rows = [dated("A", Some(5), None), dated("B", Some(5), None)];
    assert_eq!(judge_timeline(&rows)[1].overlaps, ["A"]);
}

#[test]
fn adjacent_periods_do_not_overlap() {
    let rows = [dated("A", Some(1), Some(5)), dated("B", Some(5), Some(6))];
    assert!(judge_timeline(&rows).iter().all(|result| result.overlaps.is_empty()));
}

#[test]
fn overlaps_list_at_most_five_names() {
    let rows: Vec<_> = (0..9).map(|n| dated(&format!("A{n}"), Some(n), Some(100))).collect();
    let results = judge_timeline(&rows);
    assert_eq!(results[8].overlaps, ["A0", "A1", "A2", "A3", "A4"]);
    assert!(results[8].overlaps_more);
}
