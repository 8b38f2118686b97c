use proptest::prelude::*;

use super::*;

fn day(text: &str) -> NaiveDate {
    parse_date(text).unwrap().unwrap()
}

fn period(from: &str, to: &str) -> Period {
    Period::new(parse_date(from).unwrap(), parse_date(to).unwrap())
}

#[test]
fn date_accepts_the_iso_form_of_existing_days_only() {
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
        let error = parse_date(bad).unwrap_err();
        assert_eq!(error.reason, ErrorReason::InvalidDate, "{bad}");
    }
    let error = parse_date("31/12/2020").unwrap_err();
    assert_eq!(error.text, "31/12/2020 is not a date: write it as 2026-03-01");
    let error = parse_date("0999-12-31").unwrap_err();
    assert_eq!(error.text, "0999-12-31 is not taken: give a year from 1000 to 9999");
}

#[test]
fn blank_date_is_none() {
    assert_eq!(parse_date(""), Ok(None));
    assert_eq!(parse_date(" \t"), Ok(None));
    assert_eq!(date_text(None), "");
}

#[test]
fn period_includes_its_start_and_excludes_its_end() {
    let march = period("2026-03-01", "2026-04-01");
    assert!(march.contains(day("2026-03-01")));
    assert!(march.contains(day("2026-03-31")));
    assert!(!march.contains(day("2026-04-01")));
    assert!(!march.contains(day("2026-02-28")));
    assert!(period("", "").contains(day("1000-01-01")));
}

#[test]
fn period_end_must_be_after_its_start() {
    assert!(period("2010-01-01", "2010-01-02").is_valid());
    assert!(period("2010-01-01", "").is_valid());
    assert!(period("", "2010-01-01").is_valid());
    for invalid in [period("2010-01-01", "2010-01-01"), period("2010-01-01", "2009-01-01")] {
        assert!(!invalid.is_valid());
        assert_eq!(invalid.check().unwrap_err().reason, ErrorReason::PeriodInvalid);
        assert!(!invalid.overlaps(&Period::default()));
    }
}

#[test]
fn adjacent_periods_do_not_overlap() {
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
fn period_with_unknown_start_collides_on_its_last_day_only() {
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
fn period_status_depends_on_today() {
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
    fn any_text_parses_without_a_panic(text in any::<String>()) {
        let _ = parse_date(&text);
    }

    #[test]
    fn parsed_date_round_trips(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]") {
        if let Ok(date) = parse_date(&text) {
            prop_assert_eq!(date_text(date), text);
        }
    }

    #[test]
    fn overlap_means_a_common_day(a in dates(), b in dates(), c in dates(), d in dates()) {
        let (one, two) = (Period::new(a, b), Period::new(c, d));
        let mut days = (0..60).map(|n| NaiveDate::from_yo_opt(2025, 360).unwrap() + chrono::Days::new(n));
        prop_assert_eq!(one.overlaps(&two), days.any(|day| one.contains(day) && two.contains(day)));
    }
}
