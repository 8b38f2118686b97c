use super::{super::*, support::*};

const MOVE: [&str; 2] = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];

/// The timeline on the day `on`, and the events of its rollover.
fn at(on: &str, key: TimelineKey, entries: Vec<Entry>) -> (Timeline, Vec<String>) {
    let (timeline, rollover) = Timeline::on(day(on), id(0), key, entries);
    let events = reported(&rollover);
    assert!(!rollover.edits.is_empty() || events.is_empty());
    (timeline, events)
}

#[test]
fn scheduled_entry_becomes_current_once() {
    for key in every_kind() {
        let (timeline, events) = at("2026-03-31", key, entries(TODAY, key, &MOVE));
        assert!(events.is_empty());
        assert_eq!(timeline.current().unwrap().id, id(1));
        let (timeline, events) = at("2026-04-01", key, timeline.entries().to_vec());
        assert_eq!(events, ["BecameCurrent 2 with 1"]);
        assert_eq!(timeline.current().unwrap().id, id(2));
        for on in ["2026-04-01", "2026-04-02"] {
            let (same, rollover) = Timeline::on(day(on), id(0), key, timeline.entries().to_vec());
            assert!(rollover.edits.is_empty() && rollover.events.is_empty());
            assert_eq!(rollover.outcome, Outcome::NoChange);
            assert_eq!(same.entries(), timeline.entries());
        }
    }
}

#[test]
fn rollover_after_downtime_is_reported_once() {
    for key in every_kind() {
        let (timeline, events) = at("2026-05-01", key, entries(TODAY, key, &MOVE));
        assert_eq!(events, ["BecameCurrent 2 with 1"]);
        assert!(timeline.entries().iter().all(|entry| entry.status_changes_on.is_none()));
    }
}

#[test]
fn first_scheduled_entry_becomes_current() {
    for key in every_kind() {
        let (_, events) = at("2026-04-01", key, entries(TODAY, key, &["1 A 2026-04-01.."]));
        assert_eq!(events, ["BecameCurrent 1"]);
    }
}

#[test]
fn known_end_is_reported_on_its_day() {
    for key in WITH_GAPS {
        let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-05-01.."];
        let (timeline, events) = at("2026-04-01", key, entries(TODAY, key, &rows));
        assert_eq!(events, ["Ended 1"]);
        assert_eq!(timeline.current(), None);
        let (_, events) = at("2026-05-01", key, timeline.entries().to_vec());
        assert_eq!(events, ["BecameCurrent 2"]);
        let (_, events) = at("2026-06-01", key, entries(TODAY, key, &rows));
        assert_eq!(events, ["Ended 1", "BecameCurrent 2"]);
    }
}

#[test]
fn rollover_after_downtime_reports_start_and_end() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01..2026-05-01"];
    let (timeline, events) = at("2026-06-01", ADDRESS, entries(TODAY, ADDRESS, &rows));
    assert_eq!(events, ["BecameCurrent 2 with 1", "Ended 2"]);
    assert_eq!(timeline.current(), None);
}

#[test]
fn scheduled_entry_with_end_changes_status_twice() {
    let rows = ["1 A 2026-04-01..2026-05-01"];
    let (timeline, events) = at("2026-04-30", ADDRESS, entries(TODAY, ADDRESS, &rows));
    assert_eq!(events, ["BecameCurrent 1"]);
    let (_, events) = at("2026-05-01", ADDRESS, timeline.entries().to_vec());
    assert_eq!(events, ["Ended 1"]);
}

#[test]
fn followed_entry_has_no_ended_event() {
    for key in WITH_GAPS {
        let rows = ["1 A 2010-01-01..2026-04-01 own 2026-04-01", "2 B 2026-04-01.."];
        let (_, events) = at("2026-04-01", key, entries(TODAY, key, &rows));
        assert_eq!(events, ["BecameCurrent 2 with 1"]);
    }
}

#[test]
fn cancelled_entry_never_becomes_current() {
    for key in every_kind() {
        let timeline = given(key, &MOVE);
        let timeline = timeline.apply(&timeline.cancel(cancel(2)).unwrap());
        let (_, events) = at("2026-06-01", key, timeline.entries().to_vec());
        assert!(events.is_empty());
    }
}

#[test]
fn rescheduled_entry_becomes_current_on_new_day() {
    for key in every_kind() {
        let timeline = given(key, &MOVE);
        let moved = timeline.correct(correct_dates(2, "2026-05-01..")).unwrap();
        let entries = timeline.apply(&moved).entries().to_vec();
        let (_, events) = at("2026-04-30", key, entries.clone());
        assert!(events.is_empty());
        let (_, events) = at("2026-05-01", key, entries);
        assert_eq!(events, ["BecameCurrent 2 with 1"]);
    }
}

#[test]
fn command_after_rollover_sees_new_current_entry() {
    for key in every_kind() {
        let (timeline, _) = at("2026-04-01", key, entries(TODAY, key, &MOVE));
        let same_day = timeline.add(add(3, key, "C", ""));
        rejected(same_day, ErrorReason::EntryStartsSameDay, &[2]);
        let (timeline, _) = at("2026-04-02", key, entries(TODAY, key, &MOVE));
        let added = timeline.add(add(3, key, "C", ""));
        let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01..2026-04-02", "3 C 2026-04-02.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 3 with 2"]);
    }
}
