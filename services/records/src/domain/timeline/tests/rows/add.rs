//! First entries and new entries.

use super::{
    super::{super::*, support::*},
    on,
};

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
        let rows = ["1 A 2010-01-01..2026-03-01", "3 C 2026-03-01..2026-04-01", "2 B 2026-04-01.."];
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
        let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2026-03-01", "3 A 2026-03-01.."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 3 with 2"]);
    });
}
