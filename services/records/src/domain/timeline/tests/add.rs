use super::{super::*, support::*};

#[test]
fn a_blank_value_is_refused() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        refused(timeline.add(add(2, key, "", "")), ErrorReason::ValueBlank, &[]);
    }
}

#[test]
fn without_a_day_a_new_entry_holds_from_today() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01.."]);
    let rows = ["1 A 2010-01-01..2026-03-10", "2 B 2026-03-10.."];
    let added = timeline.add(add(2, ADDRESS, "B", ""));
    done(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
    let added = timeline.add(add(2, ADDRESS, "B", TODAY));
    done(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
}

#[test]
fn a_current_entry_may_last_a_single_day() {
    let timeline = given(ADDRESS, &["1 A 2026-03-09.."]);
    let added = timeline.add(add(2, ADDRESS, "B", TODAY));
    let rows = ["1 A 2026-03-09..2026-03-10", "2 B 2026-03-10.."];
    done(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
}

#[test]
fn two_changes_on_one_day_are_no_two_entries() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2026-03-10.."]);
        let reason = ErrorReason::EntryStartsSameDay;
        refused(timeline.add(add(2, key, "B", "")), reason, &[1]);
    }
}

#[test]
fn a_change_is_scheduled_from_tomorrow_on() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01.."]);
    let added = timeline.add(add(2, ADDRESS, "B", "2026-03-11"));
    let rows = ["1 A 2010-01-01..2026-03-11", "2 B 2026-03-11.."];
    let after = done(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2 with 1"]);
    assert_eq!(after.current().unwrap().id, id(1));
    assert_eq!(after.scheduled().unwrap().id, id(2));
}

#[test]
fn the_first_entry_may_be_scheduled() {
    let timeline = given(ADDRESS, &[]);
    let added = timeline.add(add(1, ADDRESS, "A", "2026-04-01"));
    done(&timeline, added, Outcome::Scheduled, &["1 A 2026-04-01.."], &["Scheduled 1"]);
    let added = timeline.add(add(1, ADDRESS, "A", "2027-04-01"));
    refused(added, ErrorReason::EffectiveDateTooFar, &[]);
}

#[test]
fn an_entry_holds_until_the_only_one_there_is_which_is_scheduled() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2026-04-01.."]);
        let added = timeline.add(add(2, key, "B", "2026-03-01"));
        let rows = ["2 B 2026-03-01..2026-04-01", "1 A 2026-04-01.."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    }
}

#[test]
fn a_name_that_was_to_begin_may_hold_already() {
    // The only name cannot be cancelled before.
    for key in NAMES {
        let timeline = given(key, &["1 A 2026-04-01.."]);
        let added = timeline.add(add(2, key, "A", "2026-03-01"));
        let rows = ["2 A 2026-03-01..2026-04-01", "1 A 2026-04-01.."];
        let timeline = done(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
        let cancelled = timeline.cancel(cancel(1));
        let rows = ["2 A 2026-03-01.."];
        done(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 1 with 2"]);
    }
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2026-04-01.."]);
        let added = timeline.add(add(2, key, "A", "2026-03-01"));
        refused(added, ErrorReason::ScheduledEntryExists, &[1]);
    }
}

#[test]
fn the_scheduled_change_again_changes_nothing() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        nothing_to_do(timeline.add(add(3, key, "B", "2026-04-01")), 2);
        let added = timeline.add(add(3, key, "B", "2026-04-02"));
        refused(added, ErrorReason::ScheduledEntryExists, &[2]);
    }
}

#[test]
fn a_change_that_comes_earlier_than_planned_is_cancelled_first() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        for on in ["", "2026-03-01"] {
            let added = timeline.add(add(3, key, "B", on));
            refused(added, ErrorReason::ScheduledEntryExists, &[2]);
        }
        let cancelled = timeline.apply(&timeline.cancel(cancel(2)).unwrap());
        assert!(cancelled.add(add(3, key, "B", "2026-03-01")).is_ok());
    }
}

#[test]
fn the_current_value_cannot_be_scheduled_after_what_is_scheduled() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
    nothing_to_do(timeline.add(add(3, ADDRESS, "A", "")), 1);
    let added = timeline.add(add(3, ADDRESS, "A", "2026-05-01"));
    refused(added, ErrorReason::ScheduledEntryExists, &[2]);
}

#[test]
fn a_known_end_gives_way_to_an_earlier_change_and_stays_known() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2026-06-01"]);
        let added = timeline.add(add(2, key, "B", "2026-03-01"));
        let rows = ["1 A 2010-01-01..2026-03-01 own 2026-06-01", "2 B 2026-03-01.."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
        let added = timeline.add(add(2, key, "B", "2026-05-01"));
        let rows = ["1 A 2010-01-01..2026-05-01 own 2026-06-01", "2 B 2026-05-01.."];
        done(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2 with 1"]);
    }
}

#[test]
fn an_entry_that_begins_on_or_after_a_known_end_closes_nothing() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2026-06-01"]);
        let added = timeline.add(add(2, key, "B", "2026-06-01"));
        let rows = ["1 A 2010-01-01..2026-06-01 own 2026-06-01", "2 B 2026-06-01.."];
        done(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2"]);
        let added = timeline.add(add(2, key, "B", "2026-07-01"));
        let rows = ["1 A 2010-01-01..2026-06-01", "2 B 2026-07-01.."];
        done(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2"]);
    }
}

#[test]
fn the_current_value_may_return_after_a_gap_and_not_without_one() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2026-06-01"]);
    let added = timeline.add(add(2, ADDRESS, "A", "2026-06-01"));
    refused(added, ErrorReason::AlreadyCurrent, &[1]);
    let added = timeline.add(add(2, ADDRESS, "A", "2026-06-02"));
    let rows = ["1 A 2010-01-01..2026-06-01", "2 A 2026-06-02.."];
    done(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2"]);
}

#[test]
fn a_value_in_another_letter_case_is_another_value() {
    let timeline = given(ADDRESS, &["1 Acme 2010-01-01.."]);
    let added = timeline.add(add(2, ADDRESS, "ACME", ""));
    assert_eq!(added.unwrap().outcome, Outcome::Added);
}

#[test]
fn a_new_entry_into_the_middle_of_an_ended_timeline_is_refused() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2016-01-01..2020-01-01"];
    for key in WITH_GAPS {
        let added = given(key, &rows).add(add(3, key, "C", "2014-01-01"));
        refused(added, ErrorReason::PeriodOverlap, &[1, 2]);
        let added = given(key, &rows).add(add(3, key, "C", "2015-06-01"));
        refused(added, ErrorReason::PeriodOverlap, &[2]);
    }
}
