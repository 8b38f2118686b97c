//! Ends, cancellations, rescissions.

use super::{
    super::{super::*, support::*},
    on,
};

#[test]
fn end_leaves_no_current_entry() {
    on(WITH_GAPS, &["1 A 2010-01-01.."], |_, timeline| {
        let ended = timeline.end(end(1, "2026-03-01"));
        let rows = ["1 A 2010-01-01..2026-03-01"];
        let after = accepted(&timeline, ended, Outcome::Ended, &rows, &["Ended 1"]);
        assert_eq!(after.current(), None);
    });
}

#[test]
fn end_of_name_is_rejected() {
    on(NAMES, &["1 A 2010-01-01.."], |_, timeline| {
        rejected(timeline.end(end(1, "2026-03-01")), ErrorReason::NameRequired, &[]);
    });
}

#[test]
fn end_with_scheduled_entry_is_rejected() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
    on(WITH_GAPS, &rows, |_, timeline| {
        let ended = timeline.end(end(1, "2026-03-01"));
        rejected(ended, ErrorReason::ScheduledEntryExists, &[2]);
    });
}

#[test]
fn end_after_today_is_rejected() {
    on(WITH_GAPS, &["1 A 2010-01-01.."], |_, timeline| {
        assert!(timeline.end(end(1, TODAY)).is_ok());
        rejected(timeline.end(end(1, "2026-03-11")), ErrorReason::EndInFuture, &[]);
    });
}

#[test]
fn cancel_removes_entry_and_reopens_previous() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
    on(every_kind(), &rows, |_, timeline| {
        let cancelled = timeline.cancel(cancel(2));
        let rows = ["1 A 2010-01-01.."];
        accepted(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
    });
}

#[test]
fn cancel_of_non_scheduled_entry_is_rejected() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        for n in [1, 2] {
            rejected(timeline.cancel(cancel(n)), ErrorReason::NotScheduled, &[n]);
        }
    });
}

#[test]
fn rescind_extends_previous_entry() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2020-01-01", "3 C 2020-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2020-01-01", "3 C 2020-01-01.."];
        accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
    });
}

#[test]
fn rescind_of_first_name_passes_start_to_next() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(NAMES, &rows, |_, timeline| {
        let rescinded = timeline.rescind(rescind(1));
        let rows = ["2 B 2010-01-01.."];
        accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 1 with 2"]);
    });
    on(WITH_GAPS, &rows, |_, timeline| {
        let rescinded = timeline.rescind(rescind(1));
        let rows = ["2 B 2015-01-01.."];
        accepted(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 1"]);
    });
}

#[test]
fn rescind_of_only_name_is_rejected() {
    on(NAMES, &["1 A 2010-01-01.."], |_, timeline| {
        rejected(timeline.rescind(rescind(1)), ErrorReason::NameRequired, &[1]);
    });
    on(WITH_GAPS, &["1 A 2010-01-01.."], |_, timeline| {
        let rescinded = timeline.rescind(rescind(1));
        accepted(&timeline, rescinded, Outcome::Rescinded, &[], &["Rescinded 1"]);
    });
}
