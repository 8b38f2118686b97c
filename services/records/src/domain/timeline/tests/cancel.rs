use super::{super::*, support::*};

const MOVE: [&str; 2] = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];

#[test]
fn cancel_keeps_corrections_of_previous() {
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
        accepted(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
    }
}

#[test]
fn cancel_reopens_entry_added_in_between() {
    for key in every_kind() {
        let timeline = given(key, &MOVE);
        let timeline = timeline.apply(&timeline.add(add(3, key, "C", "2026-03-01")).unwrap());
        let cancelled = timeline.cancel(cancel(2));
        let rows = ["1 A 2010-01-01..2026-03-01", "3 C 2026-03-01.."];
        accepted(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 3"]);
    }
}

#[test]
fn cancel_after_rescind_reopens_previous() {
    for key in every_kind() {
        let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2026-04-01", "3 C 2026-04-01.."];
        let timeline = given(key, &rows);
        let timeline = timeline.apply(&timeline.rescind(rescind(2)).unwrap());
        assert_eq!(shown(&timeline), ["1 A 2010-01-01..2026-04-01", "3 C 2026-04-01.."]);
        let cancelled = timeline.cancel(cancel(3));
        let rows = ["1 A 2010-01-01.."];
        accepted(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 3 with 1"]);
    }
}

#[test]
fn cancel_keeps_declared_end_of_previous() {
    for key in WITH_GAPS {
        let rows = ["1 A 2010-01-01..2026-04-01 own 2026-04-01", "2 B 2026-04-01.."];
        let timeline = given(key, &rows);
        let rows = ["1 A 2010-01-01..2026-04-01"];
        let cancelled = timeline.cancel(cancel(2));
        accepted(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2"]);
        let rows = ["1 A 2010-01-01..2026-04-01 own 2026-06-01", "2 B 2026-04-01.."];
        let timeline = given(key, &rows);
        let rows = ["1 A 2010-01-01..2026-06-01"];
        let cancelled = timeline.cancel(cancel(2));
        accepted(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
    }
}

#[test]
fn cancel_of_entry_with_end_reopens_previous() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01..2026-06-01"]);
    let cancelled = timeline.cancel(cancel(2));
    let rows = ["1 A 2010-01-01.."];
    accepted(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
}

#[test]
fn cancel_of_only_entry_is_rejected_for_names() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2026-04-01.."]);
        let cancelled = timeline.cancel(cancel(1));
        accepted(&timeline, cancelled, Outcome::Cancelled, &[], &["Cancelled 1"]);
    }
    for key in NAMES {
        let timeline = given(key, &["1 A 2026-04-01.."]);
        rejected(timeline.cancel(cancel(1)), ErrorReason::NameRequired, &[1]);
    }
}

#[test]
fn cancel_of_begun_entry_is_rejected() {
    for key in every_kind() {
        let (timeline, _) = Timeline::on(day("2026-04-01"), id(0), key, entries(TODAY, key, &MOVE));
        rejected(timeline.cancel(cancel(2)), ErrorReason::NotScheduled, &[2]);
        rejected(timeline.cancel(cancel(9)), ErrorReason::NotFound, &[9]);
    }
}
