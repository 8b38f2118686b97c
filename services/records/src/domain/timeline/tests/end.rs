use super::{super::*, support::*};

#[test]
fn end_without_day_ends_today() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2026-03-09.."]);
        let ended = timeline.end(end(1, ""));
        let rows = ["1 A 2026-03-09..2026-03-10"];
        accepted(&timeline, ended, Outcome::Ended, &rows, &["Ended 1"]);
    }
}

#[test]
fn end_on_or_before_start_is_rejected() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2026-03-10.."]);
        for on in ["", TODAY, "2026-03-09"] {
            rejected(timeline.end(end(1, on)), ErrorReason::PeriodInvalid, &[1]);
        }
        let timeline = given(key, &["1 A .."]);
        assert!(timeline.end(end(1, "1066-10-14")).is_ok());
    }
}

#[test]
fn end_of_non_current_entry_is_rejected() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        rejected(timeline.end(end(1, "2014-01-01")), ErrorReason::NoCurrentEntry, &[1]);
        rejected(timeline.end(end(9, "")), ErrorReason::NotFound, &[9]);
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01"]);
        rejected(timeline.end(end(1, "")), ErrorReason::NoCurrentEntry, &[1]);
        let timeline = given(key, &["1 A 2026-04-01.."]);
        rejected(timeline.end(end(1, "")), ErrorReason::ScheduledEntryExists, &[1]);
    }
}

#[test]
fn end_moves_known_end_forward() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2026-06-01"]);
    let ended = timeline.end(end(1, "2026-03-01"));
    accepted(&timeline, ended, Outcome::Ended, &["1 A 2010-01-01..2026-03-01"], &["Ended 1"]);
}

#[test]
fn add_after_end_accepts_same_value() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        let timeline = timeline.apply(&timeline.end(end(1, "2026-03-01")).unwrap());
        let added = timeline.add(add(2, key, "A", "2026-03-01"));
        let rows = ["1 A 2010-01-01..2026-03-01 own 2026-03-01", "2 A 2026-03-01.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    }
}
