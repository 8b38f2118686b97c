//! Corrections.

use super::{
    super::{super::*, support::*},
    on,
};

#[test]
fn a_corrected_value_is_overwritten_in_place() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let corrected = timeline.correct(correct_value(2, key, "C"));
        let rows = ["1 A 2010-01-01..2015-01-01", "2 C 2015-01-01.."];
        done(&timeline, corrected, Outcome::Corrected, &rows, &["Corrected 2"]);
    });
}

#[test]
fn a_past_entry_is_corrected_with_the_flag_only() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let value = CorrectEntry { correct_history: false, ..correct_value(1, key, "C") };
        refused(timeline.correct(value), ErrorReason::CorrectHistoryRequired, &[1]);
        let dates = correct_dates(1, "2010-01-01..2014-01-01");
        let dates = CorrectEntry { correct_history: false, ..dates };
        refused(timeline.correct(dates), ErrorReason::CorrectHistoryRequired, &[1]);
        assert!(timeline.correct(correct_value(1, key, "C")).is_ok());
    });
}

#[test]
fn a_corrected_date_pushes_the_neighbour_that_it_would_overlap() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        for (command, boundary) in [
            (correct_dates(2, "2014-01-01.."), "2014-01-01"),
            (correct_dates(1, "2010-01-01..2016-01-01"), "2016-01-01"),
        ] {
            let neighbour = 3 - command.id.as_u128();
            let events = [command.id.as_u128(), neighbour].map(|n| format!("DatesChanged {n}"));
            let events = events.each_ref().map(String::as_str);
            let corrected = timeline.correct(command);
            let rows = [format!("1 A 2010-01-01..{boundary}"), format!("2 B {boundary}..")];
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            done(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
        }
    });
}

#[test]
fn a_corrected_date_takes_a_name_along_and_leaves_a_gap_to_an_address() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        for (n, dates, follows) in [(2, "2016-01-01..", 1), (1, "2010-01-01..2014-01-01", 2)] {
            let corrected = timeline.correct(correct_dates(n, dates)).unwrap();
            let moved = timeline.apply(&corrected);
            let neighbour = |timeline: &Timeline| timeline.entry(id(follows)).unwrap().period;
            let same = neighbour(&timeline) == neighbour(&moved);
            assert_eq!(same, !key.is_contiguous());
            assert_eq!(moved.entry(id(n)).unwrap().period, period(dates));
        }
    });
}

#[test]
fn a_corrected_period_ends_after_its_start() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        for dates in ["2010-01-01..2010-01-01", "2010-01-01..2009-01-01"] {
            let corrected = timeline.correct(correct_dates(1, dates));
            refused(corrected, ErrorReason::PeriodInvalid, &[]);
        }
    });
}

#[test]
fn a_corrected_date_cannot_pass_a_neighbour() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2020-01-01", "3 C 2020-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        for (dates, swallowed) in [
            ("2010-01-01..2020-01-01", vec![1]),
            ("2009-12-31..2020-01-01", vec![1]),
            ("..2020-01-01", vec![1]),
        ] {
            let corrected = timeline.correct(correct_dates(2, dates));
            refused(corrected, ErrorReason::PeriodSwallowsEntry, &swallowed);
        }
        let corrected = timeline.correct(correct_dates(1, "2010-01-01..2020-01-01"));
        refused(corrected, ErrorReason::PeriodSwallowsEntry, &[2]);
    });
}

#[test]
fn a_corrected_date_cannot_change_the_status() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2026-04-01", "3 C 2026-04-01.."];
    on(every_kind(), &rows, |_, timeline| {
        let planned = timeline.correct(correct_dates(2, "2026-03-11..2026-04-01"));
        refused(planned, ErrorReason::ScheduledEntryExists, &[3]);
        for (n, dates) in
            [(1, "2010-01-01..2026-03-11"), (2, "2015-01-01..2026-03-10"), (3, "2026-03-10..")]
        {
            let corrected = timeline.correct(correct_dates(n, dates));
            refused(corrected, ErrorReason::EntryStatusWouldChange, &[n]);
        }
    });
}

#[test]
fn a_correction_in_which_nothing_differs_changes_nothing() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        nothing_to_do(timeline.correct(correct_value(2, key, "B")), 2);
        nothing_to_do(timeline.correct(correct_dates(2, "2015-01-01..")), 2);
        let both = CorrectEntry {
            period: Some(period("2010-01-01..2015-01-01")),
            correct_history: false,
            ..correct_value(1, key, "A")
        };
        nothing_to_do(timeline.correct(both), 1);
    });
}
