//! First entries and new entries.

use super::{
    super::{super::*, support::*},
    on,
};

#[test]
fn add_to_empty_timeline_is_accepted() {
    on(every_kind(), &[], |key, empty| {
        let added = empty.add(add(1, key, "A", "2026-03-01"));
        accepted(&empty, added, Outcome::Added, &["1 A 2026-03-01.."], &["Added 1"]);
    });
}

#[test]
fn add_after_end_begins_on_last_end_or_later() {
    on(WITH_GAPS, &["1 A 2010-01-01..2020-01-01"], |key, ended| {
        let added = ended.add(add(2, key, "B", "2020-01-01"));
        let rows = ["1 A 2010-01-01..2020-01-01 own 2020-01-01", "2 B 2020-01-01.."];
        accepted(&ended, added, Outcome::Added, &rows, &["Added 2"]);
        let added = ended.add(add(2, key, "B", "2020-01-02"));
        let rows = ["1 A 2010-01-01..2020-01-01", "2 B 2020-01-02.."];
        accepted(&ended, added, Outcome::Added, &rows, &["Added 2"]);
        let added = ended.add(add(2, key, "B", "2019-12-31"));
        rejected(added, ErrorReason::PeriodOverlap, &[1]);
    });
}

#[test]
fn add_ends_current_entry_on_its_day() {
    on(every_kind(), &["1 A 2010-01-01.."], |key, timeline| {
        let added = timeline.add(add(2, key, "B", "2026-03-01"));
        let rows = ["1 A 2010-01-01..2026-03-01", "2 B 2026-03-01.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
    });
}

#[test]
fn add_follows_current_entry_with_unknown_start() {
    on(every_kind(), &["1 A .."], |key, timeline| {
        let added = timeline.add(add(2, key, "B", "1066-10-14"));
        let rows = ["1 A ..1066-10-14", "2 B 1066-10-14.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 2 with 1"]);
    });
}

#[test]
fn add_on_start_day_of_current_entry_is_rejected() {
    on(every_kind(), &["1 A 2026-03-01.."], |key, timeline| {
        let added = timeline.add(add(2, key, "B", "2026-03-01"));
        rejected(added, ErrorReason::EntryStartsSameDay, &[1]);
    });
}

#[test]
fn add_before_current_entry_is_rejected() {
    on(every_kind(), &["1 A 2026-03-01.."], |key, timeline| {
        let added = timeline.add(add(2, key, "B", "2026-02-28"));
        rejected(added, ErrorReason::BeforeCurrentEntry, &[1]);
    });
}

#[test]
fn add_after_today_is_scheduled() {
    on(every_kind(), &["1 A 2010-01-01.."], |key, timeline| {
        let added = timeline.add(add(2, key, "B", "2026-04-01"));
        let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
        accepted(&timeline, added, Outcome::Scheduled, &rows, &["Scheduled 2 with 1"]);
    });
}

#[test]
fn scheduled_entry_becomes_current_at_rollover() {
    for key in every_kind() {
        let scheduled = ["1 A 2010-01-01..2026-03-11", "2 B 2026-03-11.."];
        let entries = entries(TODAY, key, &scheduled);
        let (timeline, rollover) = Timeline::on(day("2026-03-11"), id(0), key, entries);
        assert_eq!(rollover.outcome, Outcome::Rollover);
        assert_eq!(reported(&rollover), ["BecameCurrent 2 with 1"]);
        assert_eq!(shown(&timeline), scheduled);
        assert_eq!(timeline.current().unwrap().id, id(2));
    }
}

#[test]
fn add_of_second_scheduled_entry_is_rejected() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
    on(every_kind(), &rows, |key, timeline| {
        for on in ["2026-03-20", "2026-04-01", "2026-05-01"] {
            let added = timeline.add(add(3, key, "C", on));
            rejected(added, ErrorReason::ScheduledEntryExists, &[2]);
        }
    });
}

#[test]
fn add_more_than_366_days_ahead_is_rejected() {
    on(every_kind(), &["1 A 2010-01-01.."], |key, timeline| {
        assert!(timeline.add(add(2, key, "B", "2027-03-11")).is_ok());
        let added = timeline.add(add(2, key, "B", "2027-03-12"));
        rejected(added, ErrorReason::EffectiveDateTooFar, &[]);
    });
}

#[test]
fn add_before_scheduled_entry_ends_at_its_start() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let added = timeline.add(add(3, key, "C", "2026-03-01"));
        let rows = ["1 A 2010-01-01..2026-03-01", "3 C 2026-03-01..2026-04-01", "2 B 2026-04-01.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 3 with 1"]);
    });
}

#[test]
fn add_of_current_value_is_noop() {
    on(every_kind(), &["1 A 2026-03-01.."], |key, timeline| {
        noop(timeline.add(add(2, key, "A", "")), 1);
        noop(timeline.add(add(2, key, "A", "2026-03-01")), 1);
    });
}

#[test]
fn add_of_current_value_on_other_day_is_rejected() {
    on(every_kind(), &["1 A 2026-03-01.."], |key, timeline| {
        for on in ["2026-02-01", "2026-03-09", TODAY, "2026-04-01"] {
            let added = timeline.add(add(2, key, "A", on));
            rejected(added, ErrorReason::AlreadyCurrent, &[1]);
        }
    });
    on(every_kind(), &["1 A .."], |key, timeline| {
        let added = timeline.add(add(2, key, "A", "2026-03-01"));
        rejected(added, ErrorReason::AlreadyCurrent, &[1]);
    });
}

#[test]
fn add_of_older_value_is_new_entry() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let added = timeline.add(add(3, key, "A", "2026-03-01"));
        let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2026-03-01", "3 A 2026-03-01.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 3 with 2"]);
    });
}
