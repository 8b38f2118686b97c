use proptest::prelude::*;

use super::*;

fn day(text: &str) -> NaiveDate {
    parse_date(text).unwrap().unwrap()
}

fn period(from: &str, to: &str) -> Period {
    Period::new(parse_date(from).unwrap(), parse_date(to).unwrap())
}

#[test]
fn a_date_is_four_digits_two_digits_two_digits_of_a_day_that_exists() {
    for good in ["2026-03-01", "2024-02-29", " 1904-05-05\n", "1000-01-01", "9999-12-31"] {
        assert_eq!(date_text(parse_date(good).unwrap()), good.trim());
    }
    for bad in [
        "2021-02-29",
        "1900-02-29",
        "2026-13-01",
        "2026-00-10",
        "2026-04-31",
        "2026-3-1",
        "01/03/2026",
        "2026-03-01T00:00:00",
        "+2026-03-01",
        "0999-12-31",
        "0000-01-01",
        "10000-01-01",
        "20260301",
        "2026–03–01",
        "２０２６-03-01",
        "today",
        "2026-03-0١",
    ] {
        let problem = parse_date(bad).unwrap_err();
        assert_eq!(problem.reason, ErrorReason::InvalidDate, "{bad}");
    }
    let problem = parse_date("31/12/2020").unwrap_err();
    assert_eq!(problem.text, "31/12/2020 is not a date: write it as 2026-03-01");
    let problem = parse_date("0999-12-31").unwrap_err();
    assert_eq!(problem.text, "0999-12-31 is not taken: give a year from 1000 to 9999");
}

#[test]
fn a_blank_date_is_none() {
    assert_eq!(parse_date(""), Ok(None));
    assert_eq!(parse_date(" \t"), Ok(None));
    assert_eq!(date_text(None), "");
}

#[test]
fn a_period_has_its_first_day_and_not_its_last() {
    let march = period("2026-03-01", "2026-04-01");
    assert!(march.contains(day("2026-03-01")));
    assert!(march.contains(day("2026-03-31")));
    assert!(!march.contains(day("2026-04-01")));
    assert!(!march.contains(day("2026-02-28")));
    assert!(period("", "").contains(day("1000-01-01")));
}

#[test]
fn a_period_ends_after_it_begins() {
    assert!(period("2010-01-01", "2010-01-02").is_valid());
    assert!(period("2010-01-01", "").is_valid());
    assert!(period("", "2010-01-01").is_valid());
    for wrong in [period("2010-01-01", "2010-01-01"), period("2010-01-01", "2009-01-01")] {
        assert!(!wrong.is_valid());
        assert_eq!(wrong.check().unwrap_err().reason, ErrorReason::PeriodInvalid);
        assert!(!wrong.overlaps(&Period::default()));
    }
}

#[test]
fn periods_that_touch_do_not_overlap() {
    let first = period("2001-01-01", "2010-06-30");
    for (other, overlap) in [
        (period("2010-06-30", ""), false),
        (period("2010-06-29", ""), true),
        (period("", "2001-01-01"), false),
        (period("", "2001-01-02"), true),
        (period("", ""), true),
        (period("2005-01-01", "2006-01-01"), true),
        (first, true),
    ] {
        assert_eq!(first.overlaps(&other), overlap, "{other:?}");
        assert_eq!(other.overlaps(&first), overlap, "{other:?}");
    }
}

#[test]
fn an_unknown_start_collides_with_the_last_day_alone() {
    let unknown = period("", "2015-01-01");
    for (other, collides) in [
        (period("2010-01-01", "2014-12-31"), false),
        (period("2010-01-01", "2015-01-01"), true),
        (period("2014-12-31", ""), true),
        (period("2015-01-01", ""), false),
        (period("", "2014-12-31"), false),
        (period("", "2015-01-02"), false),
        (period("", "2015-01-01"), true),
        (period("", ""), false),
    ] {
        assert_eq!(unknown.collides(&other), collides, "{other:?}");
        assert_eq!(other.collides(&unknown), collides, "{other:?}");
    }
    assert!(period("", "").collides(&period("2020-01-01", "")));
    assert!(period("", "").collides(&period("", "")));
    assert!(!period("", "").collides(&period("2020-01-01", "2021-01-01")));
}

#[test]
fn where_a_period_stands_depends_on_today() {
    let march = period("2026-03-01", "2026-04-01");
    assert_eq!(march.status(day("2026-02-28")), EntryStatus::Scheduled);
    assert_eq!(march.status(day("2026-03-01")), EntryStatus::Current);
    assert_eq!(march.status(day("2026-03-31")), EntryStatus::Current);
    assert_eq!(march.status(day("2026-04-01")), EntryStatus::Past);
    assert_eq!(period("", "").status(day("2026-04-01")), EntryStatus::Current);
}

fn dates() -> impl Strategy<Value = Option<NaiveDate>> {
    prop::option::of((0..40_u32).prop_map(|n| NaiveDate::from_yo_opt(2026, n + 1).unwrap()))
}

proptest! {
    #[test]
    fn no_text_stops_the_reader(text in any::<String>()) {
        let _ = parse_date(&text);
    }

    #[test]
    fn a_date_that_is_read_is_written_as_it_was(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]") {
        if let Ok(date) = parse_date(&text) {
            prop_assert_eq!(date_text(date), text);
        }
    }

    #[test]
    fn two_periods_overlap_when_a_day_is_in_both(a in dates(), b in dates(), c in dates(), d in dates()) {
        let (one, two) = (Period::new(a, b), Period::new(c, d));
        let mut days = (0..60).map(|n| NaiveDate::from_yo_opt(2025, 360).unwrap() + chrono::Days::new(n));
        prop_assert_eq!(one.overlaps(&two), days.any(|day| one.contains(day) && two.contains(day)));
    }
}
