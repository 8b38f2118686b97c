use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn day(n: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2020, 1, 1).unwrap() + chrono::Days::new(u64::from(n))
}

fn dated(source_id: &str, from: Option<u32>, to: Option<u32>) -> Dated {
    let period = Period::new(from.map(day), to.map(day));
    Dated { source_id: source_id.to_owned(), period }
}

/// The rule as it is said, pair by pair.
fn oracle(rows: &[Dated]) -> Vec<Place> {
    let end = |row: &Dated| {
        let starts = rows.iter().filter_map(|other| other.period.from);
        let next = starts.filter(|start| row.period.from.is_none_or(|from| *start > from)).min();
        row.period.to.or(next)
    };
    let overlap = |a: &Dated, b: &Dated| {
        let holds_none = (0..200).map(day).chain([NaiveDate::MIN]).all(|day| {
            let holds = |row: &Dated| {
                row.period.from.is_none_or(|from| day >= from)
                    && end(row).is_none_or(|end| day < end)
            };
            !(holds(a) && holds(b))
        });
        a.source_id != b.source_id && !holds_none
    };
    let place = |row: &Dated| {
        let others = rows.iter().filter(|other| overlap(row, other));
        let others: BTreeSet<_> = others.map(|other| other.source_id.clone()).collect();
        Place {
            ends: end(row),
            overlaps_more: others.len() > MAX_NAMES,
            overlaps: others.into_iter().take(MAX_NAMES).collect(),
        }
    };
    rows.iter().map(place).collect()
}

fn row() -> impl Strategy<Value = Dated> {
    let from = prop::option::weighted(0.8, 0_u32..60);
    (0_u8..12, from, prop::option::of(1_u32..40)).prop_map(|(name, from, length)| {
        let to = length.map(|length| from.unwrap_or(20) + length);
        dated(&format!("A{name}"), from, to)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_sweep_says_what_comparing_every_pair_says(rows in prop::collection::vec(row(), 0..14)) {
        prop_assert_eq!(judge_timeline(&rows), oracle(&rows));
    }

    #[test]
    fn the_order_of_the_rows_does_not_matter(
        (rows, order) in prop::collection::vec(row(), 0..12).prop_flat_map(|rows| {
            let order: Vec<usize> = (0..rows.len()).collect();
            (Just(rows), Just(order).prop_shuffle())
        }),
    ) {
        let places = judge_timeline(&rows);
        let shuffled: Vec<_> = order.iter().map(|at| rows[*at].clone()).collect();
        for (place, at) in judge_timeline(&shuffled).iter().zip(order) {
            prop_assert_eq!(place, &places[at]);
        }
    }

    #[test]
    fn an_overlap_is_told_of_both(rows in prop::collection::vec(row(), 0..6)) {
        let places = judge_timeline(&rows);
        for (row, place) in rows.iter().zip(&places) {
            for name in &place.overlaps {
                let named_back = rows.iter().zip(&places).any(|(other, place)| {
                    other.source_id == *name && place.overlaps.contains(&row.source_id)
                });
                prop_assert!(named_back || place.overlaps_more);
            }
        }
    }
}

#[test]
fn a_blank_end_is_where_the_next_one_begins() {
    let rows = [dated("A", Some(1), None), dated("B", Some(9), None), dated("C", None, None)];
    let places = judge_timeline(&rows);
    assert_eq!(places[0].ends, Some(day(9)));
    assert_eq!(places[1].ends, None);
    assert_eq!(places[2].ends, Some(day(1)));
    assert!(places.iter().all(|place| place.overlaps.is_empty()));
}

#[test]
fn two_unknown_starts_overlap_and_so_do_two_equal_ones() {
    let rows = [dated("A", None, None), dated("B", None, Some(3))];
    assert_eq!(judge_timeline(&rows)[0].overlaps, ["B"]);
    let rows = [dated("A", Some(5), None), dated("B", Some(5), None)];
    assert_eq!(judge_timeline(&rows)[1].overlaps, ["A"]);
}

#[test]
fn touching_periods_do_not_overlap() {
    let rows = [dated("A", Some(1), Some(5)), dated("B", Some(5), Some(6))];
    assert!(judge_timeline(&rows).iter().all(|place| place.overlaps.is_empty()));
}

#[test]
fn many_overlaps_name_the_first_five() {
    let rows: Vec<_> = (0..9).map(|n| dated(&format!("A{n}"), Some(n), Some(100))).collect();
    let places = judge_timeline(&rows);
    assert_eq!(places[8].overlaps, ["A0", "A1", "A2", "A3", "A4"]);
    assert!(places[8].overlaps_more);
}
