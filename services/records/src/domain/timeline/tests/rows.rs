//! The normative table, one test for each of its rows.

use super::{super::*, support::*};

/// Each row of the table on every kind of timeline that it is about.
fn on(
    keys: impl IntoIterator<Item = TimelineKey>,
    rows: &[&str],
    test: impl Fn(TimelineKey, Timeline),
) {
    for key in keys {
        test(key, given(key, rows));
    }
}

#[test]
fn the_first_entry_of_an_empty_timeline_is_added() {
    on(every_kind(), &[], |key, empty| {
        let added = empty.add(add(1, key, "A", "2026-03-01"));
        done(&empty, added, Outcome::Added, &["1 A 2026-03-01.."], &["Added 1"]);
    });
}

#[test]
fn the_first_entry_after_the_end_is_added_on_the_last_end_or_later() {
    on(WITH_GAPS, &["1 A 2010-01-01..2020-01-01"], |key, ended| {
        let added = ended.add(add(2, key, "B", "2020-01-01"));
        let rows = ["1 A 2010-01-01..2020-01-01 own 2020-01-01", "2 B 2020-01-01.."];
        done(&ended, added, Outcome::Added, &rows, &["Added 2"]);
        let added = ended.add(add(2, key, "B", "2020-01-02"));
        let rows = ["1 A 2010-01-01..2020-01-01", "2 B 2020-01-02.."];
        done(&ended, added, Outcome::Added, &rows, &["Added 2"]);
        let added = ended.add(add(2, key, "B", "2019-12-31"));
        refused(added, ErrorReason::PeriodOverlap, &[1]);
    });
}

#[test]
fn a_new_entry_closes_the_current_one_on_its_day() {
    on(every_kind(), &["1 A 2010-01-01.."], |key, timeline| {
        let added = timeline.add(add(2, key, "B", "2026-03-01"));
        let rows = ["1 A 2010-01-01..2026-03-01", "2 B 2026-03-01.."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
    });
}

#[test]
fn an_unknown_start_counts_as_earlier_than_any_new_entry() {
    on(every_kind(), &["1 A .."], |key, timeline| {
        let added = timeline.add(add(2, key, "B", "1066-10-14"));
        let rows = ["1 A ..1066-10-14", "2 B 1066-10-14.."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
    });
}

#[test]
fn a_new_entry_on_the_day_of_the_current_one_is_refused() {
    on(every_kind(), &["1 A 2026-03-01.."], |key, timeline| {
        let added = timeline.add(add(2, key, "B", "2026-03-01"));
        refused(added, ErrorReason::EntryStartsSameDay, &[1]);
    });
}

#[test]
fn a_new_entry_before_the_current_one_is_refused() {
    on(every_kind(), &["1 A 2026-03-01.."], |key, timeline| {
        let added = timeline.add(add(2, key, "B", "2026-02-28"));
        refused(added, ErrorReason::BeforeCurrentEntry, &[1]);
    });
}

#[test]
fn a_new_entry_after_today_is_scheduled() {
    on(every_kind(), &["1 A 2010-01-01.."], |key, timeline| {
        let added = timeline.add(add(2, key, "B", "2026-04-01"));
        let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
        done(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2 with 1"]);
    });
}

#[test]
fn a_scheduled_entry_becomes_current_at_midnight() {
    for key in every_kind() {
        let scheduled = ["1 A 2010-01-01..2026-03-11", "2 B 2026-03-11.."];
        let entries = entries(TODAY, key, &scheduled);
        let (timeline, midnight) = Timeline::on(day("2026-03-11"), id(0), key, entries);
        assert_eq!(midnight.outcome, Outcome::Turned);
        assert_eq!(told(&midnight), ["BecameCurrent 2 with 1"]);
        assert_eq!(shown(&timeline), scheduled);
        assert_eq!(timeline.current().unwrap().id, id(2));
    }
}

#[test]
fn a_second_scheduled_entry_is_refused() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
    on(every_kind(), &rows, |key, timeline| {
        for on in ["2026-03-20", "2026-04-01", "2026-05-01"] {
            let added = timeline.add(add(3, key, "C", on));
            refused(added, ErrorReason::ScheduledEntryExists, &[2]);
        }
    });
}

#[test]
fn an_entry_more_than_366_days_ahead_is_refused() {
    on(every_kind(), &["1 A 2010-01-01.."], |key, timeline| {
        assert!(timeline.add(add(2, key, "B", "2027-03-11")).is_ok());
        let added = timeline.add(add(2, key, "B", "2027-03-12"));
        refused(added, ErrorReason::EffectiveDateTooFar, &[]);
    });
}

#[test]
fn a_new_entry_before_a_scheduled_one_ends_where_that_begins() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let added = timeline.add(add(3, key, "C", "2026-03-01"));
        let rows = [
            "1 A 2010-01-01..2026-03-01",
            "3 C 2026-03-01..2026-04-01",
            "2 B 2026-04-01..",
        ];
        done(&timeline, added, Outcome::Added, &rows, &["Added 3 with 1"]);
    });
}

#[test]
fn the_current_value_again_changes_nothing() {
    on(every_kind(), &["1 A 2026-03-01.."], |key, timeline| {
        nothing_to_do(timeline.add(add(2, key, "A", "")), 1);
        nothing_to_do(timeline.add(add(2, key, "A", "2026-03-01")), 1);
    });
}

#[test]
fn the_current_value_with_another_day_is_refused() {
    on(every_kind(), &["1 A 2026-03-01.."], |key, timeline| {
        for on in ["2026-02-01", "2026-03-09", TODAY, "2026-04-01"] {
            let added = timeline.add(add(2, key, "A", on));
            refused(added, ErrorReason::AlreadyCurrent, &[1]);
        }
    });
    on(every_kind(), &["1 A .."], |key, timeline| {
        let added = timeline.add(add(2, key, "A", "2026-03-01"));
        refused(added, ErrorReason::AlreadyCurrent, &[1]);
    });
}

#[test]
fn a_return_to_an_older_value_is_a_third_entry() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let added = timeline.add(add(3, key, "A", "2026-03-01"));
        let rows = [
            "1 A 2010-01-01..2015-01-01",
            "2 B 2015-01-01..2026-03-01",
            "3 A 2026-03-01..",
        ];
        done(&timeline, added, Outcome::Added, &rows, &["Added 3 with 2"]);
    });
}

#[test]
fn a_past_entry_is_inserted_before_the_next_one() {
    on(every_kind(), &["1 A 2015-01-01.."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
        let touching = match key.is_contiguous() {
            true => "2 B 2010-01-01..2015-01-01",
            false => "2 B 2010-01-01..2015-01-01 own 2015-01-01",
        };
        done(&timeline, added, Outcome::Added, &[touching, "1 A 2015-01-01.."], &["Added 2"]);
    });
}

#[test]
fn a_past_entry_that_overlaps_is_refused_and_the_others_are_listed() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let added = timeline.add_past(past(3, key, "C", "2014-01-01..2016-01-01"));
        refused(added, ErrorReason::PeriodOverlap, &[1, 2]);
    });
}

#[test]
fn a_past_name_ends_where_the_next_one_begins() {
    on(NAMES, &["1 A 2015-01-01.."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2014-12-31"));
        refused(added, ErrorReason::PeriodGap, &[]);
    });
    on(WITH_GAPS, &["1 A 2015-01-01.."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2014-12-31"));
        let rows = ["2 B 2010-01-01..2014-12-31", "1 A 2015-01-01.."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    });
}

#[test]
fn the_unknown_start_of_the_next_entry_becomes_the_end_of_a_past_one() {
    on(every_kind(), &["1 A .."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
        let after = timeline.apply(&added.clone().unwrap());
        assert_eq!(told(&added.unwrap()), ["Added 2"]);
        assert_eq!(shown(&after).last().unwrap(), "1 A 2015-01-01..");
        assert_eq!(after.entries()[0].period, period("2010-01-01..2015-01-01"));
    });
}

#[test]
fn trimming_shortens_the_neighbours_that_overlap_in_part() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(NAMES, &rows, |key, timeline| {
        let added = timeline.add_past(trimming(3, key, "C", "2014-01-01..2016-01-01"));
        let rows = [
            "1 A 2010-01-01..2014-01-01",
            "3 C 2014-01-01..2016-01-01",
            "2 B 2016-01-01..",
        ];
        let events = ["Added 3", "DatesChanged 1", "DatesChanged 2"];
        done(&timeline, added, Outcome::Added, &rows, &events);
    });
}

#[test]
fn trimming_that_would_swallow_or_split_is_refused() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        for dates in ["2010-01-01..2015-01-01", "2009-01-01..2016-01-01", "..2016-01-01"] {
            let added = timeline.add_past(trimming(3, key, "C", dates));
            refused(added, ErrorReason::PeriodSwallowsEntry, &[1]);
        }
        let added = timeline.add_past(trimming(3, key, "C", "2011-01-01..2012-01-01"));
        refused(added, ErrorReason::PeriodSplitsEntry, &[1]);
        let added = timeline.add_past(trimming(3, key, "C", "2016-01-01..2017-01-01"));
        refused(added, ErrorReason::PeriodSplitsEntry, &[2]);
    });
}

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
fn a_corrected_date_moves_the_boundary_of_the_neighbour() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        for (command, boundary) in [
            (correct_dates(2, "2014-01-01.."), "2014-01-01"),
            (correct_dates(1, "2010-01-01..2016-01-01"), "2016-01-01"),
        ] {
            let events = match command.id == id(1) {
                true => ["DatesChanged 1", "DatesChanged 2"],
                false => ["DatesChanged 2", "DatesChanged 1"],
            };
            let corrected = timeline.correct(command);
            let rows = [format!("1 A 2010-01-01..{boundary}"), format!("2 B {boundary}..")];
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            done(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
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
        for (n, dates) in [
            (1, "2010-01-01..2026-03-11"),
            (2, "2026-03-11..2026-04-01"),
            (2, "2015-01-01..2026-03-10"),
            (3, "2026-03-10.."),
        ] {
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

#[test]
fn an_entry_is_ended_and_none_is_current() {
    on(WITH_GAPS, &["1 A 2010-01-01.."], |_, timeline| {
        let ended = timeline.end(end(1, "2026-03-01"));
        let rows = ["1 A 2010-01-01..2026-03-01"];
        let after = done(&timeline, ended, Outcome::Ended, &rows, &["Ended 1"]);
        assert_eq!(after.current(), None);
    });
}

#[test]
fn a_name_cannot_be_ended() {
    on(NAMES, &["1 A 2010-01-01.."], |_, timeline| {
        refused(timeline.end(end(1, "2026-03-01")), ErrorReason::NameRequired, &[]);
    });
}

#[test]
fn an_entry_is_not_ended_while_another_is_scheduled() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
    on(WITH_GAPS, &rows, |_, timeline| {
        let ended = timeline.end(end(1, "2026-03-01"));
        refused(ended, ErrorReason::ScheduledEntryExists, &[2]);
    });
}

#[test]
fn an_entry_cannot_be_ended_after_today() {
    on(WITH_GAPS, &["1 A 2010-01-01.."], |_, timeline| {
        assert!(timeline.end(end(1, TODAY)).is_ok());
        refused(timeline.end(end(1, "2026-03-11")), ErrorReason::EndInFuture, &[]);
    });
}

#[test]
fn a_cancelled_entry_is_removed_and_the_one_that_it_closed_reopens() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
    on(every_kind(), &rows, |_, timeline| {
        let cancelled = timeline.cancel(cancel(2));
        let rows = ["1 A 2010-01-01.."];
        done(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
    });
}

#[test]
fn only_a_scheduled_entry_can_be_cancelled() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        for n in [1, 2] {
            refused(timeline.cancel(cancel(n)), ErrorReason::NotScheduled, &[n]);
        }
    });
}

#[test]
fn a_rescinded_entry_leaves_its_end_to_the_one_that_it_closed() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2020-01-01", "3 C 2020-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2020-01-01", "3 C 2020-01-01.."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
    });
}

#[test]
fn a_rescinded_first_name_leaves_its_start_to_the_next() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(NAMES, &rows, |_, timeline| {
        let rescinded = timeline.rescind(rescind(1));
        let rows = ["2 B 2010-01-01.."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 1 with 2"]);
    });
    on(WITH_GAPS, &rows, |_, timeline| {
        let rescinded = timeline.rescind(rescind(1));
        let rows = ["2 B 2015-01-01.."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 1"]);
    });
}

#[test]
fn the_only_name_cannot_be_rescinded() {
    on(NAMES, &["1 A 2010-01-01.."], |_, timeline| {
        refused(timeline.rescind(rescind(1)), ErrorReason::NameRequired, &[1]);
    });
    on(WITH_GAPS, &["1 A 2010-01-01.."], |_, timeline| {
        let rescinded = timeline.rescind(rescind(1));
        done(&timeline, rescinded, Outcome::Rescinded, &[], &["Rescinded 1"]);
    });
}
