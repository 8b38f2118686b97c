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
fn the_end_of_the_rescinded_entry_goes_with_it() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2020-01-01"]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01.."];
        let after = done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
        assert_eq!(after.current().unwrap().id, id(1));
        // What comes after it is as it was.
        let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2020-01-01", "3 C 2022-01-01.."];
        let timeline = given(key, &rows);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2022-01-01", "3 C 2022-01-01.."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
    }
}

#[test]
fn what_was_ended_and_rescinded_leaves_the_one_before_open() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        let before = timeline.clone();
        let timeline = timeline.apply(&timeline.add(add(2, key, "B", "2020-01-01")).unwrap());
        let timeline = timeline.apply(&timeline.end(end(2, "2024-01-01")).unwrap());
        let timeline = timeline.apply(&timeline.rescind(rescind(2)).unwrap());
        assert_eq!(timeline, before);
    }
}

#[test]
fn a_corrected_start_that_left_a_gap_is_no_end_of_the_one_before() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        let before = timeline.clone();
        let timeline = timeline.apply(&timeline.add(add(2, key, "B", "2020-01-01")).unwrap());
        let timeline = timeline.apply(&timeline.correct(correct_dates(2, "2022-01-01..")).unwrap());
        let rows = ["1 A 2010-01-01..2020-01-01 own none", "2 B 2022-01-01.."];
        assert_eq!(shown(&timeline), rows);
        // Something else in the gap neither closes it nor opens it.
        let gap = timeline.clone();
        let timeline = timeline
            .apply(&timeline.add_past(past(3, key, "C", "2020-01-01..2021-01-01")).unwrap());
        let without = timeline.apply(&timeline.rescind(rescind(3)).unwrap());
        assert_eq!(without, gap);
        let timeline = timeline.apply(&timeline.rescind(rescind(2)).unwrap());
        assert_eq!(shown(&timeline)[0], "1 A 2010-01-01..2020-01-01");
        let timeline = timeline.apply(&timeline.rescind(rescind(3)).unwrap());
        assert_eq!(timeline, before);
    }
}

#[test]
fn a_rescinded_past_name_leaves_the_one_that_was_first_before_as_it_was() {
    for key in NAMES {
        for from in ["", "2015-01-01"] {
            let before = given(key, &[&format!("1 A {from}..")]);
            let added = before.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
            let timeline = before.apply(&added.unwrap());
            assert_eq!(shown(&timeline)[1], "1 A 2015-01-01..");
            let rescinded = timeline.rescind(rescind(2)).unwrap();
            assert_eq!(timeline.apply(&rescinded), before);
        }
    }
}

#[test]
fn an_unknown_entry_is_not_rescinded() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2015-01-01.."]);
        refused(timeline.rescind(rescind(9)), ErrorReason::NotFound, &[9]);
    }
}
