//! Past entries.

use super::{
    super::{super::*, support::*},
    on,
};

#[test]
fn a_past_entry_is_inserted_before_the_next_one() {
    on(every_kind(), &["1 A 2015-01-01.."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
        // The end of a name is always the start of the next one.
        let own = if key.is_contiguous() { "" } else { " own 2015-01-01" };
        let rows = [&format!("2 B 2010-01-01..2015-01-01{own}"), "1 A 2015-01-01.."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    });
}

#[test]
fn a_past_entry_that_overlaps_is_refused_and_the_others_are_listed() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        let added = timeline.add_past(past(3, key, "C", "2014-01-01..2016-01-01"));
        refused(added, ErrorReason::PeriodOverlap, &[1, 2]);
    });
}

#[test]
fn a_past_name_ends_where_the_next_one_begins() {
    on(NAMES, &["1 A 2015-01-01.."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2014-12-31"));
        refused(added, ErrorReason::PeriodGap, &[]);
    });
    on(WITH_GAPS, &["1 A 2015-01-01.."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2014-12-31"));
        let rows = ["2 B 2010-01-01..2014-12-31", "1 A 2015-01-01.."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    });
}

#[test]
fn the_unknown_start_of_the_next_name_becomes_the_end_of_a_past_one() {
    on(NAMES, &["1 A .."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
        let after = timeline.apply(&added.clone().unwrap());
        assert_eq!(told(&added.unwrap()), ["Added 2 with 1"]);
        assert_eq!(shown(&after).last().unwrap(), "1 A 2015-01-01..");
        assert_eq!(after.entries()[0].period, period("2010-01-01..2015-01-01"));
    });
}

#[test]
fn the_unknown_start_of_the_next_address_stays_unknown() {
    on(WITH_GAPS, &["1 A .."], |key, timeline| {
        let added = timeline.add_past(past(2, key, "B", "2010-01-01..2015-01-01"));
        let rows = ["2 B 2010-01-01..2015-01-01", "1 A .."];
        done(&timeline, added, Outcome::Added, &rows, &["Added 2"]);
    });
}

#[test]
fn trimming_shortens_the_neighbours_that_overlap_in_part() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(NAMES, &rows, |key, timeline| {
        let added = timeline.add_past(trimming(3, key, "C", "2014-01-01..2016-01-01"));
        let rows = ["1 A 2010-01-01..2014-01-01", "3 C 2014-01-01..2016-01-01", "2 B 2016-01-01.."];
        let events = ["Added 3", "DatesChanged 1", "DatesChanged 2"];
        done(&timeline, added, Outcome::Added, &rows, &events);
    });
}

#[test]
fn trimming_that_would_swallow_or_split_is_refused() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."];
    on(every_kind(), &rows, |key, timeline| {
        for dates in ["2010-01-01..2015-01-01", "2009-01-01..2016-01-01", "..2015-01-01"] {
            let added = timeline.add_past(trimming(3, key, "C", dates));
            refused(added, ErrorReason::PeriodSwallowsEntry, &[1]);
        }
        let added = timeline.add_past(trimming(3, key, "C", "2011-01-01..2012-01-01"));
        refused(added, ErrorReason::PeriodSplitsEntry, &[1]);
        let added = timeline.add_past(trimming(3, key, "C", "2016-01-01..2017-01-01"));
        refused(added, ErrorReason::PeriodSplitsEntry, &[2]);
    });
}
