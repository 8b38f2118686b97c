use super::{super::*, support::*};

#[test]
fn the_current_entry_leaves_its_days_to_the_one_before() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-03-01", "2 B 2026-03-01.."]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01.."];
        let events = ["Rescinded 2 with 1"];
        let after = done(&timeline, rescinded, Outcome::Rescinded, &rows, &events);
        assert_eq!(after.current().unwrap().id, id(1));
        let rows = ["1 A 2010-01-01..2026-03-01", "2 B 2026-03-01..2026-04-01", "3 C 2026-04-01.."];
        let timeline = given(key, &rows);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2026-04-01", "3 C 2026-04-01.."];
        let after = done(&timeline, rescinded, Outcome::Rescinded, &rows, &events);
        assert_eq!(after.current().unwrap().id, id(1));
    }
}

#[test]
fn a_scheduled_entry_leaves_the_current_one_open() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01.."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
    }
}

#[test]
fn a_scheduled_name_does_not_take_the_place_of_the_only_one_that_holds() {
    for key in NAMES {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        refused(timeline.rescind(rescind(1)), ErrorReason::NameRequired, &[1]);
        let timeline = given(key, &["1 A 2026-04-01.."]);
        refused(timeline.rescind(rescind(1)), ErrorReason::NameRequired, &[1]);
    }
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        let rescinded = timeline.rescind(rescind(1));
        let rows = ["2 B 2026-04-01.."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 1"]);
    }
}

#[test]
fn an_unknown_start_is_left_to_the_next_name() {
    for key in NAMES {
        let timeline = given(key, &["1 A ..2015-01-01", "2 B 2015-01-01.."]);
        let rescinded = timeline.rescind(rescind(1));
        let rows = ["2 B .."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 1 with 2"]);
    }
}

#[test]
fn an_entry_that_ended_by_itself_stays_ended() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        let timeline = timeline.apply(&timeline.end(end(1, "2026-03-01")).unwrap());
        let timeline = timeline.apply(&timeline.add(add(2, key, "B", "2026-03-01")).unwrap());
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2026-03-01"];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2"]);
        // With a gap between them, nothing was closed.
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2016-01-01.."]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2015-01-01"];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2"]);
    }
}

#[test]
fn a_known_end_comes_back() {
    for key in WITH_GAPS {
        let timeline =
            given(key, &["1 A 2010-01-01..2026-03-01 own 2026-06-01", "2 B 2026-03-01.."]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2026-06-01"];
        let after = done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
        assert_eq!(after.entries()[0].turns_on, Some(day("2026-06-01")));
    }
}

#[test]
fn the_end_of_the_rescinded_entry_goes_to_the_one_that_it_closed() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2020-01-01"]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2020-01-01"];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
    }
}

#[test]
fn a_rescinded_past_name_gives_its_start_to_the_one_that_was_first_before() {
    for key in NAMES {
        let timeline = given(key, &["1 A 2015-01-01.."]);
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
        let timeline = timeline.apply(&added.unwrap());
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01.."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
    }
}

#[test]
fn an_unknown_entry_is_not_rescinded() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2015-01-01.."]);
        refused(timeline.rescind(rescind(9)), ErrorReason::NotFound, &[9]);
    }
}
