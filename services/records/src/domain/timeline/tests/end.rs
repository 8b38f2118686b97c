use super::{super::*, support::*};

#[test]
fn without_a_day_an_entry_ends_today() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2026-03-09.."]);
        let ended = timeline.end(end(1, ""));
        let rows = ["1 A 2026-03-09..2026-03-10"];
        done(&timeline, ended, Outcome::Ended, &rows, &["Ended 1"]);
    }
}

#[test]
fn an_entry_that_never_held_is_not_ended() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2026-03-10.."]);
        for on in ["", TODAY, "2026-03-09"] {
            refused(timeline.end(end(1, on)), ErrorReason::PeriodInvalid, &[1]);
        }
        let timeline = given(key, &["1 A .."]);
        assert!(timeline.end(end(1, "1066-10-14")).is_ok());
    }
}

#[test]
fn only_the_current_entry_can_be_ended() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        refused(timeline.end(end(1, "2014-01-01")), ErrorReason::NoCurrentEntry, &[1]);
        refused(timeline.end(end(9, "")), ErrorReason::NotFound, &[9]);
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01"]);
        refused(timeline.end(end(1, "")), ErrorReason::NoCurrentEntry, &[1]);
        let timeline = given(key, &["1 A 2026-04-01.."]);
        refused(timeline.end(end(1, "")), ErrorReason::ScheduledEntryExists, &[1]);
    }
}

#[test]
fn a_known_end_is_brought_forward() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2026-06-01"]);
    let ended = timeline.end(end(1, "2026-03-01"));
    done(&timeline, ended, Outcome::Ended, &["1 A 2010-01-01..2026-03-01"], &["Ended 1"]);
}

#[test]
fn after_the_end_the_same_value_can_hold_again() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        let timeline = timeline.apply(&timeline.end(end(1, "2026-03-01")).unwrap());
        let added = timeline.add(add(2, key, "A", "2026-03-01"));
        let rows = ["1 A 2010-01-01..2026-03-01 own 2026-03-01", "2 A 2026-03-01.."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    }
}
