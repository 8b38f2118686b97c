//! Past entries.

use super::{
    super::{super::*, support::*},
    on,
};

#[test]
fn add_past_inserts_before_next_entry() {
    on(every_kind(), &["1 A 2015-01-01.."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
        // The end of a name is always the start of the next one.
        let own = if key.is_contiguous() { "" } else { " own 2015-01-01" };
        let rows = [&format!("2 B 2010-01-01..2015-01-01{own}"), "1 A 2015-01-01.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    });
}

#[test]
fn add_past_overlap_is_rejected_with_entries() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let added = timeline.add_past(past(3, key, "C", "2014-01-01..2016-01-01"));
        rejected(added, ErrorReason::PeriodOverlap, &[1, 2]);
    });
}

#[test]
fn add_past_name_must_end_at_next_start() {
    on(NAMES, &["1 A 2015-01-01.."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2014-12-31"));
        rejected(added, ErrorReason::PeriodGap, &[]);
    });
    on(WITH_GAPS, &["1 A 2015-01-01.."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2014-12-31"));
        let rows = ["2 B 2010-01-01..2014-12-31", "1 A 2015-01-01.."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    });
}

#[test]
fn add_past_name_sets_unknown_start_of_next() {
    on(NAMES, &["1 A .."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
        let after = timeline.apply(&added.clone().unwrap());
        assert_eq!(reported(&added.unwrap()), ["Added 2 with 1"]);
        assert_eq!(shown(&after).last().unwrap(), "1 A 2015-01-01..");
        assert_eq!(after.entries()[0].period, period("2010-01-01..2015-01-01"));
    });
}

#[test]
fn add_past_address_keeps_unknown_start_of_next() {
    on(WITH_GAPS, &["1 A .."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
        let rows = ["2 B 2010-01-01..2015-01-01", "1 A .."];
        accepted(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    });
}

#[test]
fn trim_shortens_partially_overlapping_neighbours() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(NAMES, &rows, |key, timeline| {
        let added = timeline.add_past(trimming(3, key, "C", "2014-01-01..2016-01-01"));
        let rows = ["1 A 2010-01-01..2014-01-01", "3 C 2014-01-01..2016-01-01", "2 B 2016-01-01.."];
        let events = ["Added 3", "DatesChanged 1", "DatesChanged 2"];
        accepted(&timeline, added, Outcome::Added, &rows, &events);
    });
}

#[test]
fn trim_that_swallows_or_splits_is_rejected() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        for dates in ["2010-01-01..2015-01-01", "2009-01-01..2016-01-01", "..2015-01-01"] {
            let added = timeline.add_past(trimming(3, key, "C", dates));
            rejected(added, ErrorReason::PeriodSwallowsEntry, &[1]);
        }
        let added = timeline.add_past(trimming(3, key, "C", "2011-01-01..2012-01-01"));
        rejected(added, ErrorReason::PeriodSplitsEntry, &[1]);
        let added = timeline.add_past(trimming(3, key, "C", "2016-01-01..2017-01-01"));
        rejected(added, ErrorReason::PeriodSplitsEntry, &[2]);
    });
}
