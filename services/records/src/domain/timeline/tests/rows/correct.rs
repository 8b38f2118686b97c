//! Corrections.

use super::{
    super::{super::*, support::*},
    on,
};

#[test]
fn correct_overwrites_value() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let corrected = timeline.correct(correct_value(2, key, "C"));
        let rows = ["1 A 2010-01-01..2015-01-01", "2 C 2015-01-01.."];
        accepted(&timeline, corrected, Outcome::Corrected, &rows, &["Corrected 2"]);
    });
}

#[test]
fn correct_of_past_entry_needs_flag() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let value = CorrectEntry { correct_history: false, ..correct_value(1, key, "C") };
        rejected(timeline.correct(value), ErrorReason::CorrectHistoryRequired, &[1]);
        let dates = correct_dates(1, "2010-01-01..2014-01-01");
        let dates = CorrectEntry { correct_history: false, ..dates };
        rejected(timeline.correct(dates), ErrorReason::CorrectHistoryRequired, &[1]);
        assert!(timeline.correct(correct_value(1, key, "C")).is_ok());
    });
}

#[test]
fn correct_of_date_shortens_overlapped_neighbour() {
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
            accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
        }
    });
}

#[test]
fn correct_of_date_moves_adjacent_name_but_not_address() {
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
fn correct_to_end_before_start_is_rejected() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        for dates in ["2010-01-01..2010-01-01", "2010-01-01..2009-01-01"] {
            let corrected = timeline.correct(correct_dates(1, dates));
            rejected(corrected, ErrorReason::PeriodInvalid, &[]);
        }
    });
}

#[test]
fn correct_of_date_past_neighbour_is_rejected() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2020-01-01", "3 C 2020-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        for (dates, covered) in [
            ("2010-01-01..2020-01-01", vec![1]),
            ("2009-12-31..2020-01-01", vec![1]),
            ("..2020-01-01", vec![1]),
        ] {
            let corrected = timeline.correct(correct_dates(2, dates));
            rejected(corrected, ErrorReason::PeriodSwallowsEntry, &covered);
        }
        let corrected = timeline.correct(correct_dates(1, "2010-01-01..2020-01-01"));
        rejected(corrected, ErrorReason::PeriodSwallowsEntry, &[2]);
    });
}

#[test]
fn correct_of_date_that_changes_status_is_rejected() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2026-04-01", "3 C 2026-04-01.."];
    on(every_kind(), &rows, |_, timeline| {
        let planned = timeline.correct(correct_dates(2, "2026-03-11..2026-04-01"));
        rejected(planned, ErrorReason::ScheduledEntryExists, &[3]);
        for (n, dates) in
            [(1, "2010-01-01..2026-03-11"), (2, "2015-01-01..2026-03-10"), (3, "2026-03-10..")]
        {
            let corrected = timeline.correct(correct_dates(n, dates));
            rejected(corrected, ErrorReason::EntryStatusWouldChange, &[n]);
        }
    });
}

#[test]
fn correct_without_difference_is_noop() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        noop(timeline.correct(correct_value(2, key, "B")), 2);
        noop(timeline.correct(correct_dates(2, "2015-01-01..")), 2);
        let both = CorrectEntry {
            period: Some(period("2010-01-01..2015-01-01")),
            correct_history: false,
            ..correct_value(1, key, "A")
        };
        noop(timeline.correct(both), 1);
    });
}
