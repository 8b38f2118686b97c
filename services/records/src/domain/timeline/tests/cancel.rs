use super::{super::*, support::*};

const MOVE: [&str; 2] = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];

#[test]
fn what_was_corrected_of_the_closed_entry_meanwhile_stays() {
    for key in every_kind() {
        let mut timeline = given(key, &MOVE);
        for command in [
            correct_value(1, key, "A2"),
            correct_dates(1, "2011-01-01..2026-04-01"),
            correct_dates(1, "2011-01-01..2026-05-01"),
        ] {
            timeline = timeline.apply(&timeline.correct(command).unwrap());
        }
        let cancelled = timeline.cancel(cancel(2));
        let rows = ["1 A2 2011-01-01.."];
        done(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
    }
}

#[test]
fn the_entry_that_came_in_between_reopens() {
    for key in every_kind() {
        let timeline = given(key, &MOVE);
        let timeline = timeline.apply(&timeline.add(add(3, key, "C", "2026-03-01")).unwrap());
        let cancelled = timeline.cancel(cancel(2));
        let rows = ["1 A 2010-01-01..2026-03-01", "3 C 2026-03-01.."];
        done(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 3"]);
    }
}

#[test]
fn the_one_before_reopens_when_the_closed_entry_was_rescinded_meanwhile() {
    for key in every_kind() {
        let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2026-04-01", "3 C 2026-04-01.."];
        let timeline = given(key, &rows);
        let timeline = timeline.apply(&timeline.rescind(rescind(2)).unwrap());
        assert_eq!(shown(&timeline), ["1 A 2010-01-01..2026-04-01", "3 C 2026-04-01.."]);
        let cancelled = timeline.cancel(cancel(3));
        let rows = ["1 A 2010-01-01.."];
        done(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 3 with 1"]);
    }
}

#[test]
fn an_end_of_its_own_stands_when_the_next_entry_is_cancelled() {
    for key in WITH_GAPS {
        let rows = ["1 A 2010-01-01..2026-04-01 own 2026-04-01", "2 B 2026-04-01.."];
        let timeline = given(key, &rows);
        let rows = ["1 A 2010-01-01..2026-04-01"];
        let cancelled = timeline.cancel(cancel(2));
        done(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2"]);
        let rows = ["1 A 2010-01-01..2026-04-01 own 2026-06-01", "2 B 2026-04-01.."];
        let timeline = given(key, &rows);
        let rows = ["1 A 2010-01-01..2026-06-01"];
        let cancelled = timeline.cancel(cancel(2));
        done(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
    }
}

#[test]
fn the_end_of_what_will_not_happen_goes_with_it() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01..2026-06-01"]);
    let cancelled = timeline.cancel(cancel(2));
    let rows = ["1 A 2010-01-01.."];
    done(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
}

#[test]
fn the_only_entry_can_be_cancelled_unless_it_is_a_name() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2026-04-01.."]);
        let cancelled = timeline.cancel(cancel(1));
        done(&timeline, cancelled, Outcome::Cancelled, &[], &["Cancelled 1"]);
    }
    for key in NAMES {
        let timeline = given(key, &["1 A 2026-04-01.."]);
        refused(timeline.cancel(cancel(1)), ErrorReason::NameRequired, &[1]);
    }
}

#[test]
fn an_entry_whose_day_has_come_is_not_cancelled() {
    for key in every_kind() {
        let (timeline, _) = Timeline::on(day("2026-04-01"), id(0), key, entries(TODAY, key, &MOVE));
        refused(timeline.cancel(cancel(2)), ErrorReason::NotScheduled, &[2]);
        refused(timeline.cancel(cancel(9)), ErrorReason::NotFound, &[9]);
    }
}
