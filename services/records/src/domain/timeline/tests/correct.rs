use super::{super::*, support::*};

#[test]
fn value_and_dates_are_corrected_at_once() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        let both =
            CorrectEntry { period: Some(period("2016-01-01..")), ..correct_value(2, key, "C") };
        let follows = key.is_contiguous();
        let end = if follows { "2016-01-01" } else { "2015-01-01 own none" };
        let rows = [&format!("1 A 2010-01-01..{end}"), "2 C 2016-01-01.."];
        let events = ["Corrected 2", "DatesChanged 2", "DatesChanged 1"];
        let events = if follows { &events[..] } else { &events[..2] };
        done(&timeline, timeline.correct(both), Outcome::Corrected, &rows, events);
    }
}

#[test]
fn the_start_of_the_current_entry_needs_no_flag_though_a_past_end_follows() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-03-03", "2 B 2026-03-03.."]);
        let dates = correct_dates(2, "2026-03-01..");
        let corrected = timeline.correct(CorrectEntry { correct_history: false, ..dates });
        let rows = ["1 A 2010-01-01..2026-03-01", "2 B 2026-03-01.."];
        let events = ["DatesChanged 2", "DatesChanged 1"];
        done(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
    }
}

#[test]
fn a_middle_entry_pushes_a_neighbour_and_leaves_a_gap_to_the_other() {
    let rows = ["1 A 2010-01-01..2012-01-01", "2 B 2012-01-01..2014-01-01", "3 C 2014-01-01.."];
    for key in WITH_GAPS {
        let timeline = given(key, &rows);
        let corrected = timeline.correct(correct_dates(2, "2013-01-01..2015-01-01"));
        let later = [
            "1 A 2010-01-01..2012-01-01 own none",
            "2 B 2013-01-01..2015-01-01",
            "3 C 2015-01-01..",
        ];
        let events = ["DatesChanged 2", "DatesChanged 3"];
        done(&timeline, corrected, Outcome::DatesChanged, &later, &events);
        let corrected = timeline.correct(correct_dates(2, "2011-01-01..2013-01-01"));
        let earlier =
            ["1 A 2010-01-01..2011-01-01", "2 B 2011-01-01..2013-01-01", "3 C 2014-01-01.."];
        let events = ["DatesChanged 2", "DatesChanged 1"];
        done(&timeline, corrected, Outcome::DatesChanged, &earlier, &events);
    }
}

#[test]
fn a_middle_name_moves_between_both_neighbours() {
    let rows = ["1 A 2010-01-01..2012-01-01", "2 B 2012-01-01..2014-01-01", "3 C 2014-01-01.."];
    for key in NAMES {
        for (from, to) in [
            ("2013-01-01", "2015-01-01"),
            ("2011-01-01", "2013-01-01"),
            ("2010-01-02", "2010-01-03"),
        ] {
            let timeline = given(key, &rows);
            let corrected = timeline.correct(correct_dates(2, &format!("{from}..{to}")));
            let rows = [
                format!("1 A 2010-01-01..{from}"),
                format!("2 B {from}..{to}"),
                format!("3 C {to}.."),
            ];
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            let events = ["DatesChanged 2", "DatesChanged 1", "DatesChanged 3"];
            done(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
        }
    }
}

#[test]
fn the_scheduled_entry_moves_and_the_current_one_ends_there() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        let corrected = timeline.correct(correct_dates(2, "2026-05-01.."));
        let rows = ["1 A 2010-01-01..2026-05-01", "2 B 2026-05-01.."];
        let events = ["DatesChanged 2", "DatesChanged 1"];
        done(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
        let corrected = timeline.correct(correct_dates(1, "2010-01-01..2026-03-11"));
        let follows = key.is_contiguous();
        let next = if follows { "2 B 2026-03-11.." } else { "2 B 2026-04-01.." };
        let rows = ["1 A 2010-01-01..2026-03-11", next];
        let events = ["DatesChanged 1", "DatesChanged 2"];
        let events = if follows { &events[..] } else { &events[..1] };
        done(&timeline, corrected, Outcome::DatesChanged, &rows, events);
    }
}

#[test]
fn the_scheduled_entry_stays_scheduled_and_near() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        let too_far = ErrorReason::EffectiveDateTooFar;
        assert!(timeline.correct(correct_dates(2, "2027-03-11..")).is_ok());
        refused(timeline.correct(correct_dates(2, "2027-03-12..")), too_far, &[]);
        refused(timeline.correct(correct_dates(1, "2010-01-01..2027-03-12")), too_far, &[]);
        let begun = timeline.correct(correct_dates(2, &format!("{TODAY}..")));
        refused(begun, ErrorReason::EntryStatusWouldChange, &[2]);
        let opened = timeline.correct(correct_dates(1, "2010-01-01.."));
        refused(opened, ErrorReason::PeriodSwallowsEntry, &[2]);
        let unknown = timeline.correct(correct_dates(2, ".."));
        refused(unknown, ErrorReason::EntryStatusWouldChange, &[2]);
    }
}

#[test]
fn the_earliest_start_may_be_found_forgotten_and_moved() {
    for key in every_kind() {
        for (before, after) in
            [("", "2010-01-01"), ("2010-01-01", ""), ("2010-01-01", "2011-01-01")]
        {
            let timeline = given(key, &[&format!("1 A {before}..")]);
            let corrected = timeline.correct(correct_dates(1, &format!("{after}..")));
            let row = format!("1 A {after}..");
            done(&timeline, corrected, Outcome::DatesChanged, &[&row], &["DatesChanged 1"]);
        }
    }
}

#[test]
fn an_entry_after_another_needs_its_start() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        let corrected = timeline.correct(correct_dates(2, ".."));
        refused(corrected, ErrorReason::PeriodSwallowsEntry, &[1]);
    }
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2014-01-01", "2 B 2015-01-01.."]);
    let corrected = timeline.correct(correct_dates(2, ".."));
    refused(corrected, ErrorReason::PeriodSwallowsEntry, &[1]);
}

#[test]
fn an_entry_moves_within_the_gaps_around_it() {
    let rows = ["1 A 2010-01-01..2012-01-01", "2 B 2013-01-01..2014-01-01", "3 C 2015-01-01.."];
    for key in WITH_GAPS {
        let timeline = given(key, &rows);
        let corrected = timeline.correct(correct_dates(2, "2012-01-01..2015-01-01"));
        let rows = [
            "1 A 2010-01-01..2012-01-01 own 2012-01-01",
            "2 B 2012-01-01..2015-01-01 own 2015-01-01",
            "3 C 2015-01-01..",
        ];
        done(&timeline, corrected, Outcome::DatesChanged, &rows, &["DatesChanged 2"]);
        let corrected = timeline.correct(correct_dates(2, "2011-01-01..2016-01-01"));
        let rows = [
            "1 A 2010-01-01..2011-01-01 own 2012-01-01",
            "2 B 2011-01-01..2016-01-01 own 2016-01-01",
            "3 C 2016-01-01..",
        ];
        let events = ["DatesChanged 2", "DatesChanged 1", "DatesChanged 3"];
        done(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
        for dates in ["2009-01-01..2014-01-01", "2010-01-01..2014-01-01"] {
            let corrected = timeline.correct(correct_dates(2, dates));
            refused(corrected, ErrorReason::PeriodSwallowsEntry, &[1]);
        }
        let corrected = timeline.correct(correct_dates(1, "2010-01-01..2014-01-01"));
        refused(corrected, ErrorReason::PeriodSwallowsEntry, &[2]);
    }
}

#[test]
fn an_entry_does_not_change_places_with_another() {
    let rows =
        ["1 A 2010-01-01..2012-01-01", "2 B 2013-01-01..2014-01-01", "3 C 2015-01-01..2016-01-01"];
    for key in WITH_GAPS {
        for (n, dates, passed) in [
            (2, "2008-01-01..2009-01-01", vec![1]),
            (2, "2017-01-01..2018-01-01", vec![3]),
            (1, "2017-01-01..2018-01-01", vec![2, 3]),
        ] {
            let corrected = given(key, &rows).correct(correct_dates(n, dates));
            refused(corrected, ErrorReason::PeriodSwallowsEntry, &passed);
        }
        // The one that it touches would follow over the days of the other.
        let rows = [
            "1 A 2010-01-01..2012-01-01",
            "2 B 2012-01-01..2014-01-01",
            "3 C 2015-01-01..2016-01-01",
        ];
        let corrected = given(key, &rows).correct(correct_dates(2, "2017-01-01..2018-01-01"));
        refused(corrected, ErrorReason::PeriodSwallowsEntry, &[3]);
    }
}

#[test]
fn a_known_end_may_be_set_moved_and_taken_back() {
    for key in WITH_GAPS {
        for (before, after) in
            [("", "2026-06-01"), ("2026-06-01", "2026-03-11"), ("2026-06-01", "")]
        {
            let timeline = given(key, &[&format!("1 A 2010-01-01..{before}")]);
            let corrected = timeline.correct(correct_dates(1, &format!("2010-01-01..{after}")));
            let row = format!("1 A 2010-01-01..{after}");
            done(&timeline, corrected, Outcome::DatesChanged, &[&row], &["DatesChanged 1"]);
        }
        // A known end may be as far away as it is.
        let timeline = given(key, &["1 A 2010-01-01..2040-01-01"]);
        assert!(timeline.correct(correct_dates(1, "2011-01-01..2040-01-01")).is_ok());
    }
}

#[test]
fn the_last_name_has_no_end() {
    for key in NAMES {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        for end in ["2015-01-01", TODAY, "2026-06-01"] {
            let corrected = timeline.correct(correct_dates(1, &format!("2010-01-01..{end}")));
            refused(corrected, ErrorReason::NameRequired, &[]);
        }
    }
}

#[test]
fn a_corrected_date_of_an_address_closes_no_gap() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
    let corrected = timeline.correct(correct_dates(2, "2016-01-01.."));
    let rows = ["1 A 2010-01-01..2015-01-01 own none", "2 B 2016-01-01.."];
    let events = ["DatesChanged 2"];
    let timeline = done(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
    let corrected = timeline.correct(correct_dates(1, "2010-01-01..2014-01-01"));
    let rows = ["1 A 2010-01-01..2014-01-01", "2 B 2016-01-01.."];
    let events = ["DatesChanged 1"];
    done(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
}

#[test]
fn an_end_of_its_own_stays() {
    let rows = ["1 A 2010-01-01..2015-01-01 own 2015-01-01", "2 B 2015-01-01.."];
    let timeline = given(ADDRESS, &rows);
    let corrected = timeline.correct(correct_dates(2, "2016-01-01.."));
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2016-01-01.."];
    done(&timeline, corrected, Outcome::DatesChanged, &rows, &["DatesChanged 2"]);
}

#[test]
fn the_current_entry_holds_until_what_is_scheduled_or_its_own_end() {
    let rows = ["1 A 2010-01-01..2026-05-01 own 2026-06-01", "2 B 2026-05-01.."];
    let timeline = given(ADDRESS, &rows);
    for (start, end) in [
        ("2026-04-01", "2026-04-01 own 2026-06-01"),
        ("2026-06-01", "2026-06-01 own 2026-06-01"),
        ("2026-06-02", "2026-06-01"),
    ] {
        let corrected = timeline.correct(correct_dates(2, &format!("{start}..")));
        let after = timeline.apply(&corrected.unwrap());
        assert_eq!(shown(&after)[0], format!("1 A 2010-01-01..{end}"));
    }
}

#[test]
fn a_mistaken_end_of_the_last_entry_is_cleared_without_the_flag() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2016-01-01.."]);
        let before = timeline.clone();
        let timeline = timeline.apply(&timeline.end(end(2, "2026-03-01")).unwrap());
        for (to, row) in [("", "2 B 2016-01-01.."), ("2026-04-01", "2 B 2016-01-01..2026-04-01")] {
            let dates = correct_dates(2, &format!("2016-01-01..{to}"));
            let slip = CorrectEntry { correct_history: false, ..dates };
            let expected = Slip { ended: true, begun: false, is_last: true };
            assert_eq!(timeline.slip(&slip), Ok(Some(expected)));
            let rows = ["1 A 2010-01-01..2015-01-01", row];
            let corrected = timeline.correct(slip);
            let events = ["DatesChanged 2"];
            let after = done(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
            assert_eq!(after.current().unwrap().id, id(2));
            assert!(!to.is_empty() || after == before);
        }
        // Another has begun since.
        let revived = timeline.correct(correct_dates(1, "2010-01-01.."));
        refused(revived, ErrorReason::EntryStatusWouldChange, &[1]);
    }
}

#[test]
fn a_start_that_should_be_in_the_future_becomes_scheduled_and_the_one_before_holds() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-03-01", "2 B 2026-03-01.."]);
        let slip = CorrectEntry { correct_history: false, ..correct_dates(2, "2026-04-01..") };
        let expected = Slip { ended: false, begun: true, is_last: true };
        assert_eq!(timeline.slip(&slip), Ok(Some(expected)));
        let corrected = timeline.correct(slip);
        let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
        let events = ["DatesChanged 2", "DatesChanged 1"];
        let after = done(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
        assert_eq!(after.current().unwrap().id, id(1));
        let cancelled = after.cancel(cancel(2));
        let rows = ["1 A 2010-01-01.."];
        done(&after, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
        let too_far = timeline.correct(correct_dates(2, "2027-03-12.."));
        refused(too_far, ErrorReason::EffectiveDateTooFar, &[]);
        let timeline = given(key, &["1 A 2026-03-01..2026-05-01", "2 B 2026-05-01.."]);
        let second = timeline.correct(correct_dates(1, "2026-04-01..2026-05-01"));
        refused(second, ErrorReason::ScheduledEntryExists, &[2]);
    }
    // An end of its own stays.
    for key in WITH_GAPS {
        let rows = ["1 A 2010-01-01..2026-03-01 own 2026-03-01", "2 B 2026-03-01.."];
        let timeline = given(key, &rows);
        let corrected = timeline.correct(correct_dates(2, "2026-04-01.."));
        let rows = ["1 A 2010-01-01..2026-03-01", "2 B 2026-04-01.."];
        done(&timeline, corrected, Outcome::DatesChanged, &rows, &["DatesChanged 2"]);
    }
}

#[test]
fn a_refused_status_names_the_call_that_says_it() {
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01..2026-04-01", "3 C 2026-04-01.."];
    let timeline = given(ADDRESS, &rows);
    for (n, dates, call) in [
        (1, "2010-01-01..2026-03-11", "AddEntry"),
        (2, "2015-01-01..2026-03-10", "EndEntry"),
        (3, "2026-03-10..", "CancelScheduledEntry"),
    ] {
        let refusal = timeline.correct(correct_dates(n, dates)).unwrap_err().to_string();
        assert!(refusal.contains(call), "{refusal}");
    }
    let name = given(TimelineKey::RegisteredName, &rows);
    let refusal = name.correct(correct_dates(2, "2015-01-01..2026-03-10")).unwrap_err();
    assert!(refusal.to_string().contains("CancelScheduledEntry"), "{refusal}");
}

#[test]
fn a_correction_may_repeat_the_value_of_a_neighbour() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        let corrected = timeline.correct(correct_value(2, key, "A"));
        let rows = ["1 A 2010-01-01..2015-01-01", "2 A 2015-01-01.."];
        done(&timeline, corrected, Outcome::Corrected, &rows, &["Corrected 2"]);
    }
}

#[test]
fn a_blank_value_and_an_unknown_entry_are_refused() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        refused(timeline.correct(correct_value(1, key, "")), ErrorReason::ValueBlank, &[]);
        refused(timeline.correct(correct_value(9, key, "B")), ErrorReason::NotFound, &[9]);
        let nothing = CorrectEntry { value: None, ..correct_value(1, key, "A") };
        nothing_to_do(timeline.correct(nothing), 1);
    }
}
