//! Ends, cancellations, rescissions.

use super::{
    super::{super::*, support::*},
    on,
};

#[test]
fn an_entry_is_ended_and_none_is_current() {
    on(WITH_GAPS, &["1 A 2010-01-01.."], |_, timeline| {
        let ended = timeline.end(end(1, "2026-03-01"));
        let rows = ["1 A 2010-01-01..2026-03-01"];
        let after = done(&timeline, ended, Outcome::Ended, &rows, &["Ended 1"]);
        assert_eq!(after.current(), None);
    });
}

#[test]
fn a_name_cannot_be_ended() {
    on(NAMES, &["1 A 2010-01-01.."], |_, timeline| {
        refused(timeline.end(end(1, "2026-03-01")), ErrorReason::NameRequired, &[]);
    });
}

#[test]
fn an_entry_is_not_ended_while_another_is_scheduled() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
    on(WITH_GAPS, &rows, |_, timeline| {
        let ended = timeline.end(end(1, "2026-03-01"));
        refused(ended, ErrorReason::ScheduledEntryExists, &[2]);
    });
}

#[test]
fn an_entry_cannot_be_ended_after_today() {
    on(WITH_GAPS, &["1 A 2010-01-01.."], |_, timeline| {
        assert!(timeline.end(end(1, TODAY)).is_ok());
        refused(timeline.end(end(1, "2026-03-11")), ErrorReason::EndInFuture, &[]);
    });
}

#[test]
fn a_cancelled_entry_is_removed_and_the_one_that_it_closed_reopens() {
    let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
    on(every_kind(), &rows, |_, timeline| {
        let cancelled = timeline.cancel(cancel(2));
        let rows = ["1 A 2010-01-01.."];
        done(&timeline, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
    });
}

#[test]
fn only_a_scheduled_entry_can_be_cancelled() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        for n in [1, 2] {
            refused(timeline.cancel(cancel(n)), ErrorReason::NotScheduled, &[n]);
        }
    });
}

#[test]
fn a_rescinded_entry_leaves_its_end_to_the_one_that_it_closed() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2020-01-01", "3 C 2020-01-01.."];
    on(every_kind(), &rows, |_, timeline| {
        let rescinded = timeline.rescind(rescind(2));
        let rows = ["1 A 2010-01-01..2020-01-01", "3 C 2020-01-01.."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 2 with 1"]);
    });
}

#[test]
fn a_rescinded_first_name_leaves_its_start_to_the_next() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(NAMES, &rows, |_, timeline| {
        let rescinded = timeline.rescind(rescind(1));
        let rows = ["2 B 2010-01-01.."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 1 with 2"]);
    });
    on(WITH_GAPS, &rows, |_, timeline| {
        let rescinded = timeline.rescind(rescind(1));
        let rows = ["2 B 2015-01-01.."];
        done(&timeline, rescinded, Outcome::Rescinded, &rows, &["Rescinded 1"]);
    });
}

#[test]
fn the_only_name_cannot_be_rescinded() {
    on(NAMES, &["1 A 2010-01-01.."], |_, timeline| {
        refused(timeline.rescind(rescind(1)), ErrorReason::NameRequired, &[1]);
    });
    on(WITH_GAPS, &["1 A 2010-01-01.."], |_, timeline| {
        let rescinded = timeline.rescind(rescind(1));
        done(&timeline, rescinded, Outcome::Rescinded, &[], &["Rescinded 1"]);
    });
}
