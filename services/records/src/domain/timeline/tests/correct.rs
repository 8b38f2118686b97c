use super::{super::*, support::*};

#[test]
fn correct_accepts_value_and_dates_together() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        let both =
            CorrectEntry { period: Some(period("2016-01-01..")), ..correct_value(2, key, "C") };
        let follows = key.is_contiguous();
        let end = if follows { "2016-01-01" } else { "2015-01-01 own none" };
        let rows = [&format!("1 A 2010-01-01..{end}"), "2 C 2016-01-01.."];
        let events = ["Corrected 2", "DatesChanged 2", "DatesChanged 1"];
        let events = if follows { &events[..] } else { &events[..2] };
        accepted(&timeline, timeline.correct(both), Outcome::Corrected, &rows, events);
    }
}

#[test]
fn correct_of_current_start_needs_no_flag() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-03-03", "2 B 2026-03-03.."]);
        let dates = correct_dates(2, "2026-03-01..");
        let corrected = timeline.correct(CorrectEntry { correct_history: false, ..dates });
        let rows = ["1 A 2010-01-01..2026-03-01", "2 B 2026-03-01.."];
        let events = ["DatesChanged 2", "DatesChanged 1"];
        accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
    }
}

#[test]
fn correct_of_middle_entry_shortens_one_neighbour() {
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
        accepted(&timeline, corrected, Outcome::DatesChanged, &later, &events);
        let corrected = timeline.correct(correct_dates(2, "2011-01-01..2013-01-01"));
        let earlier =
            ["1 A 2010-01-01..2011-01-01", "2 B 2011-01-01..2013-01-01", "3 C 2014-01-01.."];
        let events = ["DatesChanged 2", "DatesChanged 1"];
        accepted(&timeline, corrected, Outcome::DatesChanged, &earlier, &events);
    }
}

#[test]
fn correct_of_middle_name_moves_both_boundaries() {
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
            accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
        }
    }
}

#[test]
fn correct_of_scheduled_start_moves_current_end() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        let corrected = timeline.correct(correct_dates(2, "2026-05-01.."));
        let rows = ["1 A 2010-01-01..2026-05-01", "2 B 2026-05-01.."];
        let events = ["DatesChanged 2", "DatesChanged 1"];
        accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
        let corrected = timeline.correct(correct_dates(1, "2010-01-01..2026-03-11"));
        let follows = key.is_contiguous();
        let next = if follows { "2 B 2026-03-11.." } else { "2 B 2026-04-01.." };
        let rows = ["1 A 2010-01-01..2026-03-11", next];
        let events = ["DatesChanged 1", "DatesChanged 2"];
        let events = if follows { &events[..] } else { &events[..1] };
        accepted(&timeline, corrected, Outcome::DatesChanged, &rows, events);
    }
}

#[test]
fn correct_of_scheduled_entry_keeps_status_and_limit() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."]);
        let too_far = ErrorReason::EffectiveDateTooFar;
        assert!(timeline.correct(correct_dates(2, "2027-03-11..")).is_ok());
        rejected(timeline.correct(correct_dates(2, "2027-03-12..")), too_far, &[]);
        rejected(timeline.correct(correct_dates(1, "2010-01-01..2027-03-12")), too_far, &[]);
        let begun = timeline.correct(correct_dates(2, &format!("{TODAY}..")));
        rejected(begun, ErrorReason::EntryStatusWouldChange, &[2]);
        let opened = timeline.correct(correct_dates(1, "2010-01-01.."));
        rejected(opened, ErrorReason::PeriodSwallowsEntry, &[2]);
        let unknown = timeline.correct(correct_dates(2, ".."));
        rejected(unknown, ErrorReason::EntryStatusWouldChange, &[2]);
    }
}

#[test]
fn correct_of_earliest_start_may_set_clear_and_move() {
    for key in every_kind() {
        for (before, after) in
            [("", "2010-01-01"), ("2010-01-01", ""), ("2010-01-01", "2011-01-01")]
        {
            let timeline = given(key, &[&format!("1 A {before}..")]);
            let corrected = timeline.correct(correct_dates(1, &format!("{after}..")));
            let row = format!("1 A {after}..");
            accepted(&timeline, corrected, Outcome::DatesChanged, &[&row], &["DatesChanged 1"]);
        }
    }
}

#[test]
fn correct_to_unknown_start_after_entry_is_rejected() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        let corrected = timeline.correct(correct_dates(2, ".."));
        rejected(corrected, ErrorReason::PeriodSwallowsEntry, &[1]);
    }
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2014-01-01", "2 B 2015-01-01.."]);
    let corrected = timeline.correct(correct_dates(2, ".."));
    rejected(corrected, ErrorReason::PeriodSwallowsEntry, &[1]);
}

#[test]
fn correct_moves_entry_within_gaps() {
    let rows = ["1 A 2010-01-01..2012-01-01", "2 B 2013-01-01..2014-01-01", "3 C 2015-01-01.."];
    for key in WITH_GAPS {
        let timeline = given(key, &rows);
        let corrected = timeline.correct(correct_dates(2, "2012-01-01..2015-01-01"));
        let rows = [
            "1 A 2010-01-01..2012-01-01 own 2012-01-01",
            "2 B 2012-01-01..2015-01-01 own 2015-01-01",
            "3 C 2015-01-01..",
        ];
        accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &["DatesChanged 2"]);
        let corrected = timeline.correct(correct_dates(2, "2011-01-01..2016-01-01"));
        let rows = [
            "1 A 2010-01-01..2011-01-01 own 2012-01-01",
            "2 B 2011-01-01..2016-01-01 own 2016-01-01",
            "3 C 2016-01-01..",
        ];
        let events = ["DatesChanged 2", "DatesChanged 1", "DatesChanged 3"];
        accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
        for dates in ["2009-01-01..2014-01-01", "2010-01-01..2014-01-01"] {
            let corrected = timeline.correct(correct_dates(2, dates));
            rejected(corrected, ErrorReason::PeriodSwallowsEntry, &[1]);
        }
        let corrected = timeline.correct(correct_dates(1, "2010-01-01..2014-01-01"));
        rejected(corrected, ErrorReason::PeriodSwallowsEntry, &[2]);
    }
}

#[test]
fn correct_that_reorders_entries_is_rejected() {
    let rows =
        ["1 A 2010-01-01..2012-01-01", "2 B 2013-01-01..2014-01-01", "3 C 2015-01-01..2016-01-01"];
    for key in WITH_GAPS {
        for (n, dates, passed) in [
            (2, "2008-01-01..2009-01-01", vec![1]),
            (2, "2017-01-01..2018-01-01", vec![3]),
            (1, "2017-01-01..2018-01-01", vec![2, 3]),
        ] {
            let corrected = given(key, &rows).correct(correct_dates(n, dates));
            rejected(corrected, ErrorReason::PeriodSwallowsEntry, &passed);
        }
        // The adjacent entry would cover the days of the other one.
        let rows = [
            "1 A 2010-01-01..2012-01-01",
            "2 B 2012-01-01..2014-01-01",
            "3 C 2015-01-01..2016-01-01",
        ];
        let corrected = given(key, &rows).correct(correct_dates(2, "2017-01-01..2018-01-01"));
        rejected(corrected, ErrorReason::PeriodSwallowsEntry, &[3]);
    }
}

#[test]
fn correct_of_known_end_may_set_move_and_clear() {
    for key in WITH_GAPS {
        for (before, after) in
            [("", "2026-06-01"), ("2026-06-01", "2026-03-11"), ("2026-06-01", "")]
        {
            let timeline = given(key, &[&format!("1 A 2010-01-01..{before}")]);
            let corrected = timeline.correct(correct_dates(1, &format!("2010-01-01..{after}")));
            let row = format!("1 A 2010-01-01..{after}");
            accepted(&timeline, corrected, Outcome::DatesChanged, &[&row], &["DatesChanged 1"]);
        }
        // A known end has no limit in the future.
        let timeline = given(key, &["1 A 2010-01-01..2040-01-01"]);
        assert!(timeline.correct(correct_dates(1, "2011-01-01..2040-01-01")).is_ok());
    }
}

#[test]
fn correct_of_last_name_to_end_is_rejected() {
    for key in NAMES {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        for end in ["2015-01-01", TODAY, "2026-06-01"] {
            let corrected = timeline.correct(correct_dates(1, &format!("2010-01-01..{end}")));
            rejected(corrected, ErrorReason::NameRequired, &[]);
        }
    }
}

#[test]
fn correct_of_address_date_leaves_gap() {
    let timeline = given(ADDRESS, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
    let corrected = timeline.correct(correct_dates(2, "2016-01-01.."));
    let rows = ["1 A 2010-01-01..2015-01-01 own none", "2 B 2016-01-01.."];
    let events = ["DatesChanged 2"];
    let timeline = accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
    let corrected = timeline.correct(correct_dates(1, "2010-01-01..2014-01-01"));
    let rows = ["1 A 2010-01-01..2014-01-01", "2 B 2016-01-01.."];
    let events = ["DatesChanged 1"];
    accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
}

#[test]
fn correct_of_next_start_keeps_declared_end() {
    let rows = ["1 A 2010-01-01..2015-01-01 own 2015-01-01", "2 B 2015-01-01.."];
    let timeline = given(ADDRESS, &rows);
    let corrected = timeline.correct(correct_dates(2, "2016-01-01.."));
    let rows = ["1 A 2010-01-01..2015-01-01", "2 B 2016-01-01.."];
    accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &["DatesChanged 2"]);
}

#[test]
fn current_entry_ends_at_scheduled_or_declared_end() {
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
fn correct_clears_mistaken_end_without_flag() {
    for key in WITH_GAPS {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2016-01-01.."]);
        let before = timeline.clone();
        let timeline = timeline.apply(&timeline.end(end(2, "2026-03-01")).unwrap());
        for (to, row) in [("", "2 B 2016-01-01.."), ("2026-04-01", "2 B 2016-01-01..2026-04-01")] {
            let dates = correct_dates(2, &format!("2016-01-01..{to}"));
            let command = CorrectEntry { correct_history: false, ..dates };
            let expected = StatusCorrection { ended: true, begun: false, is_last: true };
            assert_eq!(timeline.status_correction(&command), Ok(Some(expected)));
            let rows = ["1 A 2010-01-01..2015-01-01", row];
            let corrected = timeline.correct(command);
            let events = ["DatesChanged 2"];
            let after = accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
            assert_eq!(after.current().unwrap().id, id(2));
            assert!(!to.is_empty() || after == before);
        }
        // Another entry has begun since.
        let revived = timeline.correct(correct_dates(1, "2010-01-01.."));
        rejected(revived, ErrorReason::EntryStatusWouldChange, &[1]);
    }
}

#[test]
fn correct_to_future_start_reschedules_entry() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2026-03-01", "2 B 2026-03-01.."]);
        let command = CorrectEntry { correct_history: false, ..correct_dates(2, "2026-04-01..") };
        let expected = StatusCorrection { ended: false, begun: true, is_last: true };
        assert_eq!(timeline.status_correction(&command), Ok(Some(expected)));
        let corrected = timeline.correct(command);
        let rows = ["1 A 2010-01-01..2026-04-01", "2 B 2026-04-01.."];
        let events = ["DatesChanged 2", "DatesChanged 1"];
        let after = accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &events);
        assert_eq!(after.current().unwrap().id, id(1));
        let cancelled = after.cancel(cancel(2));
        let rows = ["1 A 2010-01-01.."];
        accepted(&after, cancelled, Outcome::Cancelled, &rows, &["Cancelled 2 with 1"]);
        let too_far = timeline.correct(correct_dates(2, "2027-03-12.."));
        rejected(too_far, ErrorReason::EffectiveDateTooFar, &[]);
        let timeline = given(key, &["1 A 2026-03-01..2026-05-01", "2 B 2026-05-01.."]);
        let second = timeline.correct(correct_dates(1, "2026-04-01..2026-05-01"));
        rejected(second, ErrorReason::ScheduledEntryExists, &[2]);
    }
    // A declared end is kept.
    for key in WITH_GAPS {
        let rows = ["1 A 2010-01-01..2026-03-01 own 2026-03-01", "2 B 2026-03-01.."];
        let timeline = given(key, &rows);
        let corrected = timeline.correct(correct_dates(2, "2026-04-01.."));
        let rows = ["1 A 2010-01-01..2026-03-01", "2 B 2026-04-01.."];
        accepted(&timeline, corrected, Outcome::DatesChanged, &rows, &["DatesChanged 2"]);
    }
}

#[test]
fn status_error_names_the_rpc_to_call() {
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
fn correct_may_repeat_value_of_neighbour() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01..2015-01-01", "2 B 2015-01-01.."]);
        let corrected = timeline.correct(correct_value(2, key, "A"));
        let rows = ["1 A 2010-01-01..2015-01-01", "2 A 2015-01-01.."];
        accepted(&timeline, corrected, Outcome::Corrected, &rows, &["Corrected 2"]);
    }
}

#[test]
fn correct_of_blank_value_or_unknown_entry_is_rejected() {
    for key in every_kind() {
        let timeline = given(key, &["1 A 2010-01-01.."]);
        rejected(timeline.correct(correct_value(1, key, "")), ErrorReason::ValueBlank, &[]);
        rejected(timeline.correct(correct_value(9, key, "B")), ErrorReason::NotFound, &[9]);
        let nothing = CorrectEntry { value: None, ..correct_value(1, key, "A") };
        noop(timeline.correct(nothing), 1);
    }
}
