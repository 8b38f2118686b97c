use super::{super::*, support::*};

#[test]
fn rescind_of_current_entry_extends_previous() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-03-01", "2 B 2026-03-01.."]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01.."];
        let events = ["Rescinded 2 with 1"];
        let after = accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &events);
        assert_eq!(after.current().unwrap().id, id(1));
        let rows = ["1 A 2010-01-01..2026-03-01", "2 B 2026-03-01..2026-04-01", "3 C 2026-04-01.."];
        let timeline = given(key, &rows);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2026-04-01", "3 C 2026-04-01.."];
        let after = accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &events);
        assert_eq!(after.current().unwrap().id, id(1));
    }
}

#[test]
fn rescind_of_scheduled_entry_reopens_current() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01.."];
        accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
    }
}

#[test]
fn rescind_of_only_begun_name_is_rejected() {
    for key in NAMES {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        rejected(timeline.rescind(rescind(1)), ErrorReason::NameRequired, &[1]);
        let timeline = given(key, &["1 A 2026-04-01.."]);
        rejected(timeline.rescind(rescind(1)), ErrorReason::NameRequired, &[1]);
    }
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        let rescinded = timeline.rescind(rescind(1));
        let rows = ["2 B 2026-04-01.."];
        accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 1"]);
    }
}

#[test]
fn rescind_of_first_name_passes_unknown_start_to_next() {
    for key in NAMES {
        let timeline = given(key, &["1 A ..2015-01-01", "2 B 2015-01-01.."]);
        let rescinded = timeline.rescind(rescind(1));
        let rows = ["2 B .."];
        accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 1 with 2"]);
    }
}

#[test]
fn rescind_keeps_declared_end_of_previous() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        let timeline = timeline.apply(&timeline.end(end(1, "2026-03-01")).unwrap());
        let timeline = timeline.apply(&timeline.add(add(2, key, "B", "2026-03-01")).unwrap());
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2026-03-01"];
        accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2"]);
        // An entry after a gap has cut nothing.
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2016-01-01.."]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2015-01-01"];
        accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2"]);
    }
}

#[test]
fn rescind_restores_known_end() {
    for key in WITH_GAPS {
        let timeline =
            given(key, &["1 A 2010-01-01..2026-03-01 own 2026-06-01", "2 B 2026-03-01.."]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2026-06-01"];
        let after =
            accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
        assert_eq!(after.entries()[0].status_changes_on, Some(day("2026-06-01")));
    }
}

#[test]
fn rescind_of_ended_entry_reopens_previous() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2020-01-01"]);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01.."];
        let after =
            accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
        assert_eq!(after.current().unwrap().id, id(1));
        // Later entries do not change.
        let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2020-01-01", "3 C 2022-01-01.."];
        let timeline = given(key, &rows);
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2022-01-01", "3 C 2022-01-01.."];
        accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
    }
}

#[test]
fn rescind_after_end_restores_timeline() {
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
fn rescind_after_corrected_start_reopens_previous() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        let before = timeline.clone();
        let timeline = timeline.apply(&timeline.add(add(2, key, "B", "2020-01-01")).unwrap());
        let timeline = timeline.apply(&timeline.correct(correct_dates(2, "2022-01-01..")).unwrap());
        let rows = ["1 A 2010-01-01..2020-01-01 own none", "2 B 2022-01-01.."];
        assert_eq!(shown(&timeline), rows);
        // Another entry in the gap changes nothing.
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
fn rescind_of_past_first_name_restores_next() {
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
fn rescind_of_unknown_entry_is_rejected() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2015-01-01.."]);
        rejected(timeline.rescind(rescind(9)), ErrorReason::NotFound, &[9]);
    }
}

/// The timeline after an accepted decision.
fn after(timeline: &Timeline, decision: Result<Decision, TimelineError>) -> Timeline {
    timeline.apply(&decision.unwrap())
}

/// Checks the timeline after a rescission of the reloaded timeline.
#[track_caller]
fn rescinded_gives(timeline: &Timeline, n: u128, rows: &[&str]) -> Timeline {
    let (loaded, _) = Timeline::on(day(TODAY), id(0), timeline.key, timeline.entries().to_vec());
    let gives = after(&loaded, loaded.rescind(rescind(n)));
    assert_eq!(shown(&gives), rows);
    gives
}

#[test]
fn rescind_restores_days_before_unknown_start() {
    for key in WITH_GAPS {
        let current = given(key, &["1 A .."]);
        let before = after(&current, current.add_past(past(2, key, "V", "2020-01-01..2024-01-01")));
        let whole = ["2 V 2020-01-01..2024-01-01", "1 A .."];
        assert_eq!(shown(&before), whole);
        let trimmed = |dates| after(&before, before.add_past(trimming(3, key, "X", dates)));
        rescinded_gives(&trimmed("2022-01-01..2024-06-01"), 3, &whole);
        let x = trimmed("2022-01-01..2024-01-01");
        rescinded_gives(&x, 3, &whole);
        rescinded_gives(&after(&x, x.correct(correct_value(3, key, "Y"))), 3, &whole);
        let shorter = correct_dates(3, "2022-01-01..2023-06-01");
        rescinded_gives(&after(&x, x.correct(shorter)), 3, &whole);
        let scheduled = after(&x, x.add(add(4, key, "S", "2026-06-01")));
        rescinded_gives(&after(&scheduled, scheduled.cancel(cancel(4))), 3, &whole);
        rescinded_gives(
            &after(&x, x.correct(correct_value(1, key, "B"))),
            3,
            &[whole[0], "1 B .."],
        );
        // Two trimming entries, rescinded in either order.
        let x = trimmed("2023-01-01..2024-01-01");
        let y = after(&x, x.add_past(trimming(4, key, "Y", "2022-01-01..2023-01-01")));
        for (first, second) in [(3, 4), (4, 3)] {
            let one = after(&y, y.rescind(rescind(first)));
            rescinded_gives(&one, second, &whole);
        }
    }
}

#[test]
fn rescind_of_corrected_name_restores_names() {
    for key in NAMES {
        // The end is corrected, once and back, before names with a known and an unknown start.
        for start in ["", "2025-12-01"] {
            let given_name = [&*format!("1 N {start}..")];
            let current = given(key, &given_name);
            let v = past(2, key, "V", "2025-01-01..2025-12-01");
            let before = after(&current, current.add_past(v));
            let whole = ["2 V 2025-01-01..2025-12-01", "1 N 2025-12-01.."];
            let x = trimming(3, key, "X", "2025-06-01..2025-12-01");
            let x = after(&before, before.add_past(x));
            let once = after(&x, x.correct(correct_dates(3, "2025-06-01..2025-11-01")));
            assert_eq!(once.entries()[2].period, period("2025-11-01.."));
            rescinded_gives(&once, 3, &whole);
            let back = after(&once, once.correct(correct_dates(3, "2025-06-01..2025-12-01")));
            rescinded_gives(&back, 3, &whole);
        }
        // The end of the current name moves the start of the scheduled one.
        let rows = ["1 N 2020-01-01..2025-05-01", "2 B 2025-05-01..2026-05-01", "4 S 2026-05-01.."];
        let before = given(key, &rows);
        let x = after(&before, before.add(add(3, key, "X", "2026-01-01")));
        let once = after(&x, x.correct(correct_dates(3, "2026-01-01..2026-04-01")));
        assert_eq!(once.entries()[3].period, period("2026-04-01.."));
        rescinded_gives(&once, 3, &rows);
        // The start is corrected, after a name that it has trimmed.
        let rows = ["1 N 2020-01-01..2025-05-01", "2 B 2025-05-01.."];
        let before = given(key, &rows);
        let x = trimming(3, key, "X", "2025-05-01..2025-09-01");
        let x = after(&before, before.add_past(x));
        let later = after(&x, x.correct(correct_dates(3, "2025-06-01..2025-09-01")));
        rescinded_gives(&later, 3, &rows);
    }
}

#[test]
fn add_keeps_corrected_start_of_next_name() {
    for key in NAMES {
        let before = given(key, &["1 N 2020-01-01..2026-05-01", "2 S 2026-05-01.."]);
        let moved = after(&before, before.correct(correct_dates(1, "2020-01-01..2026-04-01")));
        let x = after(&moved, moved.add(add(3, key, "X", "2026-02-01")));
        let rows = ["1 N 2020-01-01..2026-02-01", "3 X 2026-02-01..2026-04-01", "2 S 2026-04-01.."];
        assert_eq!(shown(&x), rows);
        rescinded_gives(&x, 3, &["1 N 2020-01-01..2026-04-01", "2 S 2026-04-01.."]);
    }
}

#[test]
fn correct_of_only_name_to_later_start_is_rejected() {
    for key in NAMES {
        let timeline = given(key, &["1 A 2020-01-01.."]);
        let later = timeline.correct(correct_dates(1, "2026-05-01.."));
        rejected(later, ErrorReason::NameRequired, &[1]);
    }
}
