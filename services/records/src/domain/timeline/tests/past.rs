use super::{super::*, support::*};

#[test]
fn add_past_without_valid_end_is_rejected() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2015-01-01.."]);
        for dates in ["2010-01-01..", "..", "2015-01-01..2015-01-01", "2015-01-01..2010-01-01"] {
            let added = timeline.add_past(past(2, key, "B", dates));
            rejected(added, ErrorReason::PeriodInvalid, &[]);
        }
        let added = timeline.add_past(past(2, key, "", "2010-01-01..2015-01-01"));
        rejected(added, ErrorReason::ValueBlank, &[]);
    }
}

#[test]
fn add_past_ending_after_today_is_rejected() {
    for key in WITH_GAPS {
        let timeline = given(key, &[]);
        let added = timeline.add_past(past(1, key, "A", "2026-03-09..2026-03-10"));
        let rows = ["1 A 2026-03-09..2026-03-10"];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 1"]);
        let added = timeline.add_past(past(1, key, "A", "2026-03-09..2026-03-11"));
        rejected(added, ErrorReason::EndInFuture, &[]);
    }
}

#[test]
fn add_past_of_equal_entry_is_noop() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        noop(timeline.add_past(past(3, key, "A", "2010-01-01..2015-01-01")), 1);
        noop(timeline.add_past(trimming(3, key, "A", "2010-01-01..2015-01-01")), 1);
    }
}

#[test]
fn add_past_fills_gap() {
    let rows = ["1 A 2010-01-01..2012-01-01", "2 B 2015-01-01.."];
    for key in WITH_GAPS {
        let timeline = given(key, &rows);
        let added = timeline.add_past(past(3, key, "C", "2012-01-01..2015-01-01"));
        let rows = [
            "1 A 2010-01-01..2012-01-01 own 2012-01-01",
            "3 C 2012-01-01..2015-01-01 own 2015-01-01",
            "2 B 2015-01-01..",
        ];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 3"]);
    }
}

#[test]
fn add_past_after_last_ended_entry_is_accepted() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2012-01-01", "2 B 2026-04-01.."]);
    let added = timeline.add_past(past(3, ADDRESS, "C", "2013-01-01..2026-03-10"));
    let rows = ["1 A 2010-01-01..2012-01-01", "3 C 2013-01-01..2026-03-10", "2 B 2026-04-01.."];
    accepted(&timeline, added, Outcome::Added, &rows, &["Added 3"]);
}

#[test]
fn only_earliest_name_has_unknown_start() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2015-01-01.."]);
        let added = timeline.add_past(past(2, key, "B", "..2015-01-01"));
        let timeline = timeline.apply(&added.unwrap());
        assert_eq!(timeline.entries()[0].period, period("..2015-01-01"));
        // The unknown start of a name becomes known.
        let added = timeline.add_past(past(3, key, "C", "..2010-01-01"));
        let timeline = timeline.apply(&added.unwrap());
        assert_eq!(timeline.entries()[0].period, period("..2010-01-01"));
        let second = if key.is_contiguous() { "2010-01-01..2015-01-01" } else { "..2015-01-01" };
        assert_eq!(timeline.entries()[1].period, period(second));
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        let added = timeline.add_past(past(3, key, "C", "..2020-01-01"));
        // On timelines with gaps, it begins after the first entry.
        let in_the_way = if key.is_contiguous() { &[1, 2][..] } else { &[2] };
        rejected(added, ErrorReason::PeriodOverlap, in_the_way);
    }
}

#[test]
fn add_past_is_independent_of_order() {
    let older = ["2005-01-01..2008-01-01", "2008-01-01..2010-01-01", "2012-01-01..2015-01-01"];
    let rows = [
        "2 v2 2005-01-01..2008-01-01",
        "3 v3 2008-01-01..2010-01-01",
        "4 v4 2012-01-01..2015-01-01",
        "1 A ..",
    ];
    for key in WITH_GAPS {
        for order in [[2, 3, 4], [2, 4, 3], [3, 2, 4], [3, 4, 2], [4, 2, 3], [4, 3, 2]] {
            let mut timeline = given(key, &["1 A .."]);
            for n in order {
                let dates = older[usize::try_from(n - 2).unwrap()];
                let added = timeline.add_past(past(n, key, &format!("v{n}"), dates)).unwrap();
                assert_eq!(reported(&added), [format!("Added {n}")]);
                timeline = timeline.apply(&added);
            }
            let bare = |row: String| row.split(" own ").next().unwrap().to_owned();
            assert_eq!(shown(&timeline).into_iter().map(bare).collect::<Vec<_>>(), rows);
            assert_eq!(timeline.current().unwrap().id, id(1));
            // The unknown start is after all of them.
            let before = timeline.add(add(9, key, "B", "2015-01-01"));
            rejected(before, ErrorReason::BeforeCurrentEntry, &[1]);
            let ended = timeline.end(end(1, "2014-01-01"));
            rejected(ended, ErrorReason::PeriodInvalid, &[1]);
            assert!(timeline.add(add(9, key, "B", "2015-01-02")).is_ok());
        }
    }
}

#[test]
fn add_past_keeps_unknown_start_of_ended_entry() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A ..2015-01-01"]);
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2014-12-31"));
        let rows = ["2 B 2010-01-01..2014-12-31", "1 A ..2015-01-01"];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
        rejected(added, ErrorReason::PeriodOverlap, &[1]);
        let added = timeline.add_past(trimming(2, key, "B", "2010-01-01..2015-01-01"));
        let rows = ["1 A ..2010-01-01 own 2015-01-01", "2 B 2010-01-01..2015-01-01"];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 2", "DatesChanged 1"]);
        let added = timeline.add_past(trimming(2, key, "B", "..2015-01-01"));
        rejected(added, ErrorReason::PeriodSwallowsEntry, &[1]);
    }
}

#[test]
fn trim_may_shorten_one_neighbour_only() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2012-01-01", "2 B 2015-01-01.."]);
        let added = timeline.add_past(trimming(3, key, "C", "2013-01-01..2026-03-10"));
        let rows = [
            "1 A 2010-01-01..2012-01-01",
            "3 C 2013-01-01..2026-03-10 own 2026-03-10",
            "2 B 2026-03-10..",
        ];
        let events = ["Added 3", "DatesChanged 2"];
        let after = accepted(&timeline, added, Outcome::Added, &rows, &events);
        assert_eq!(after.current().unwrap().id, id(2));
    }
}

#[test]
fn trim_may_begin_at_start_of_trimmed_entry() {
    for key in NAMES {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        let added = timeline.add_past(trimming(3, key, "C", "2015-01-01..2020-01-01"));
        let rows = ["1 A 2010-01-01..2015-01-01", "3 C 2015-01-01..2020-01-01", "2 B 2020-01-01.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 3", "DatesChanged 2"]);
        let added = timeline.add_past(trimming(3, key, "C", "2009-01-01..2012-01-01"));
        let rows = ["3 C 2009-01-01..2012-01-01", "1 A 2012-01-01..2015-01-01", "2 B 2015-01-01.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 3", "DatesChanged 1"]);
    }
}

#[test]
fn trim_does_not_fill_gap_between_names() {
    for key in NAMES {
        let timeline = given(key, &["1 A 2015-01-01.."]);
        let added = timeline.add_past(trimming(2, key, "B", "2010-01-01..2014-01-01"));
        rejected(added, ErrorReason::PeriodGap, &[]);
        let added = given(key, &[]).add_past(past(1, key, "A", "2010-01-01..2014-01-01"));
        rejected(added, ErrorReason::PeriodGap, &[]);
        // The only name begins in April, which is after the end of any past entry.
        let timeline = given(key, &["1 A 2026-04-01.."]);
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2026-03-10"));
        rejected(added, ErrorReason::PeriodGap, &[]);
    }
}

#[test]
fn rescind_of_trimming_entry_restores_declared_end() {
    for key in WITH_GAPS {
        let before = ["1 A 2010-01-01..2015-01-01", "2 B 2018-01-01.."];
        let timeline = given(key, &before);
        let added = timeline.add_past(trimming(3, key, "C", "2014-01-01..2017-01-01"));
        let rows = [
            "1 A 2010-01-01..2014-01-01 own 2015-01-01",
            "3 C 2014-01-01..2017-01-01",
            "2 B 2018-01-01..",
        ];
        let events = ["Added 3", "DatesChanged 1"];
        let timeline = accepted(&timeline, added, Outcome::Added, &rows, &events);
        let rescinded = timeline.rescind(rescind(3));
        accepted(&timeline, rescinded, Outcome::Rescinded, &before, &["Rescinded 3 with 1"]);
    }
}
