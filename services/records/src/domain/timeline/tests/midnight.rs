use super::{super::*, support::*};

const MOVE: [&str; 2] = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];

/// The timeline on the day `on`, and what is told of the nights before.
fn at(on: &str, key: TimelineKey, entries: Vec<Entry>) -> (Timeline, Vec<String>) {
    let (timeline, midnight) = Timeline::on(day(on), id(0), key, entries);
    let events = told(&midnight);
    assert!(!midnight.edits.is_empty() || events.is_empty());
    (timeline, events)
}

#[test]
fn a_scheduled_entry_becomes_current_once() {
    for key in every_kind() {
        let (timeline, events) = at("2026-03-31", key, entries(TODAY, key, &MOVE));
        assert!(events.is_empty());
        assert_eq!(timeline.current().unwrap().id, id(1));
        let (timeline, events) = at("2026-04-01", key, timeline.entries().to_vec());
        assert_eq!(events, ["BecameCurrent 2 with 1"]);
        assert_eq!(timeline.current().unwrap().id, id(2));
        for on in ["2026-04-01", "2026-04-02"] {
            let (same, midnight) = Timeline::on(day(on), id(0), key, timeline.entries().to_vec());
            assert!(midnight.edits.is_empty() && midnight.events.is_empty());
            assert_eq!(midnight.outcome, Outcome::NoChange);
            assert_eq!(same.entries(), timeline.entries());
        }
    }
}

#[test]
fn after_a_month_of_downtime_it_is_told_once() {
    for key in every_kind() {
        let (timeline, events) = at("2026-05-01", key, entries(TODAY, key, &MOVE));
        assert_eq!(events, ["BecameCurrent 2 with 1"]);
        assert!(timeline.entries().iter().all(|entry| entry.turns_on.is_none()));
    }
}

#[test]
fn the_first_entry_becomes_current_too() {
    for key in every_kind() {
        let (_, events) = at("2026-04-01", key, entries(TODAY, key, &["1 A 2026-04-01.."]));
        assert_eq!(events, ["BecameCurrent 1"]);
    }
}

#[test]
fn a_known_end_is_told_when_it_is_reached() {
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
fn an_entry_that_began_and_ended_during_the_downtime_did_both() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01..2026-05-01"];
    let (timeline, events) = at("2026-06-01", ADDRESS, entries(TODAY, ADDRESS, &rows));
    assert_eq!(events, ["BecameCurrent 2 with 1", "Ended 2"]);
    assert_eq!(timeline.current(), None);
}

#[test]
fn a_scheduled_entry_with_an_end_turns_twice() {
    let rows = ["1 A 2026-04-01..2026-05-01"];
    let (timeline, events) = at("2026-04-30", ADDRESS, entries(TODAY, ADDRESS, &rows));
    assert_eq!(events, ["BecameCurrent 1"]);
    let (_, events) = at("2026-05-01", ADDRESS, timeline.entries().to_vec());
    assert_eq!(events, ["Ended 1"]);
}

#[test]
fn an_entry_that_hands_over_has_no_end_of_its_own_to_tell() {
    for key in WITH_GAPS {
        let rows = ["1 A 2010-01-01..2026-04-01 own 2026-04-01", "2 B 2026-04-01.."];
        let (_, events) = at("2026-04-01", key, entries(TODAY, key, &rows));
        assert_eq!(events, ["BecameCurrent 2 with 1"]);
    }
}

#[test]
fn a_cancelled_entry_never_becomes_current() {
    for key in every_kind() {
        let timeline = given(key, &MOVE);
        let timeline = timeline.apply(&timeline.cancel(cancel(2)).unwrap());
        let (_, events) = at("2026-06-01", key, timeline.entries().to_vec());
        assert!(events.is_empty());
    }
}

#[test]
fn a_rescheduled_entry_becomes_current_on_its_new_day() {
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
fn a_command_after_midnight_stands_on_what_midnight_changed() {
    for key in every_kind() {
        let (timeline, _) = at("2026-04-01", key, entries(TODAY, key, &MOVE));
        let same_day = timeline.add(add(3, key, "C", ""));
        refused(same_day, ErrorReason::EntryStartsSameDay, &[2]);
        let (timeline, _) = at("2026-04-02", key, entries(TODAY, key, &MOVE));
        let added = timeline.add(add(3, key, "C", ""));
        let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01..2026-04-02", "3 C 2026-04-02.."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 3 with 2"]);
    }
}
