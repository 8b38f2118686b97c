use super::{super::*, support::*};

#[test]
fn add_of_blank_value_is_rejected() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        rejected(timeline.add(add(2, key, "", "")), ErrorReason::ValueBlank, &[]);
    }
}

#[test]
fn add_without_day_holds_from_today() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01.."]);
    let rows = ["1 A 2010-01-01..2026-03-10", "2 B 2026-03-10.."];
    let added = timeline.add(add(2, ADDRESS, "B", ""));
    accepted(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
    let added = timeline.add(add(2, ADDRESS, "B", TODAY));
    accepted(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
}

#[test]
fn current_entry_may_last_one_day() {
    let timeline = given(ADDRESS, &["1 A 2026-03-09.."]);
    let added = timeline.add(add(2, ADDRESS, "B", TODAY));
    let rows = ["1 A 2026-03-09..2026-03-10", "2 B 2026-03-10.."];
    accepted(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
}

#[test]
fn add_on_start_day_of_current_entry_today_is_rejected() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2026-03-10.."]);
        let reason = ErrorReason::EntryStartsSameDay;
        rejected(timeline.add(add(2, key, "B", "")), reason, &[1]);
    }
}

#[test]
fn add_from_tomorrow_is_scheduled() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01.."]);
    let added = timeline.add(add(2, ADDRESS, "B", "2026-03-11"));
    let rows = ["1 A 2010-01-01..2026-03-11", "2 B 2026-03-11.."];
    let after = accepted(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2 with 1"]);
    assert_eq!(after.current().unwrap().id, id(1));
    assert_eq!(after.scheduled().unwrap().id, id(2));
}

#[test]
fn first_entry_may_be_scheduled() {
    let timeline = given(ADDRESS, &[]);
    let added = timeline.add(add(1, ADDRESS, "A", "2026-04-01"));
    accepted(&timeline, added, Outcome::Scheduled, &["1 A 2026-04-01.."], &["Scheduled 1"]);
    let added = timeline.add(add(1, ADDRESS, "A", "2027-04-01"));
    rejected(added, ErrorReason::EffectiveDateTooFar, &[]);
}

#[test]
fn add_before_only_scheduled_entry_ends_at_its_start() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2026-04-01.."]);
        let added = timeline.add(add(2, key, "B", "2026-03-01"));
        let rows = ["2 B 2026-03-01..2026-04-01", "1 A 2026-04-01.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    }
}

#[test]
fn add_of_scheduled_first_name_earlier_is_accepted() {
    // The only name cannot be cancelled first.
    for key in NAMES {
        let timeline = given(key, &["1 A 2026-04-01.."]);
        let added = timeline.add(add(2, key, "A", "2026-03-01"));
        let rows = ["2 A 2026-03-01..2026-04-01", "1 A 2026-04-01.."];
        let timeline = accepted(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
        let cancelled = timeline.cancel(cancel(1));
        let rows = ["2 A 2026-03-01.."];
        accepted(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 1 with 2"]);
    }
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2026-04-01.."]);
        let added = timeline.add(add(2, key, "A", "2026-03-01"));
        rejected(added, ErrorReason::ScheduledEntryExists, &[1]);
    }
}

#[test]
fn add_of_scheduled_entry_again_is_noop() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        noop(timeline.add(add(3, key, "B", "2026-04-01")), 2);
        let added = timeline.add(add(3, key, "B", "2026-04-02"));
        rejected(added, ErrorReason::ScheduledEntryExists, &[2]);
    }
}

#[test]
fn add_of_scheduled_value_earlier_needs_cancel() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        for on in ["", "2026-03-01"] {
            let added = timeline.add(add(3, key, "B", on));
            rejected(added, ErrorReason::ScheduledEntryExists, &[2]);
        }
        let cancelled = timeline.apply(&timeline.cancel(cancel(2)).unwrap());
        assert!(cancelled.add(add(3, key, "B", "2026-03-01")).is_ok());
    }
}

#[test]
fn add_of_current_value_after_scheduled_is_rejected() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
    noop(timeline.add(add(3, ADDRESS, "A", "")), 1);
    let added = timeline.add(add(3, ADDRESS, "A", "2026-05-01"));
    rejected(added, ErrorReason::ScheduledEntryExists, &[2]);
}

#[test]
fn add_before_known_end_keeps_declared_end() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2026-06-01"]);
        let added = timeline.add(add(2, key, "B", "2026-03-01"));
        let rows = ["1 A 2010-01-01..2026-03-01 own 2026-06-01", "2 B 2026-03-01.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
        let added = timeline.add(add(2, key, "B", "2026-05-01"));
        let rows = ["1 A 2010-01-01..2026-05-01 own 2026-06-01", "2 B 2026-05-01.."];
        accepted(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2 with 1"]);
    }
}

#[test]
fn add_on_or_after_known_end_cuts_nothing() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2026-06-01"]);
        let added = timeline.add(add(2, key, "B", "2026-06-01"));
        let rows = ["1 A 2010-01-01..2026-06-01 own 2026-06-01", "2 B 2026-06-01.."];
        accepted(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2"]);
        let added = timeline.add(add(2, key, "B", "2026-07-01"));
        let rows = ["1 A 2010-01-01..2026-06-01", "2 B 2026-07-01.."];
        accepted(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2"]);
    }
}

#[test]
fn add_of_current_value_needs_gap() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2026-06-01"]);
    let added = timeline.add(add(2, ADDRESS, "A", "2026-06-01"));
    rejected(added, ErrorReason::AlreadyCurrent, &[1]);
    let added = timeline.add(add(2, ADDRESS, "A", "2026-06-02"));
    let rows = ["1 A 2010-01-01..2026-06-01", "2 A 2026-06-02.."];
    accepted(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2"]);
}

#[test]
fn add_of_value_in_other_case_is_new_entry() {
    let timeline = given(ADDRESS, &["1 Acme 2010-01-01.."]);
    let added = timeline.add(add(2, ADDRESS, "ACME", ""));
    assert_eq!(added.unwrap().outcome, Outcome::Added);
}

#[test]
fn add_between_ended_entries_is_rejected() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2016-01-01..2020-01-01"];
    for key in WITH_GAPS {
        let added = given(key, &rows).add(add(3, key, "C", "2014-01-01"));
        rejected(added, ErrorReason::PeriodOverlap, &[1, 2]);
        let added = given(key, &rows).add(add(3, key, "C", "2015-06-01"));
        rejected(added, ErrorReason::PeriodOverlap, &[2]);
    }
}
