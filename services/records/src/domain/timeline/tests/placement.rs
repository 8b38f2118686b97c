use chrono::Days;
use concord_core::rules::date::Period;
use concord_proto::pb::records::EntryStatus;
use proptest::prelude::*;

use super::{super::*, support::*};

fn entry(n: u128, text: &str, dates: &str) -> Entry {
    let key = TimelineKey::TradingName;
    Entry::new(id(n), id(0), key, value(key, text), period(dates), day(TODAY))
}

fn placed(entries: &[Entry], text: &str, at: Period) -> Result<Placement, TimelineError> {
    place(entries, &value(TimelineKey::TradingName, text), at, day(TODAY), |_| false)
}

#[test]
fn place_finds_equal_entry_and_rejects_overlap() {
    let entries = [entry(1, "Acme", "2019-07-01..")];
    let same = placed(&entries, "Acme", period("2019-07-01.."));
    assert_eq!(same, Ok(Placement::Equal(id(1))));
    let other = placed(&entries, "Bolt", period("2020-01-01.."));
    assert_eq!(other, Err(TimelineError::Overlap(vec![id(1)])));
}

#[test]
fn place_accepts_entry_that_fills_gap() {
    let entries = [entry(1, "A", "..2010-01-01"), entry(2, "C", "2015-01-01..")];
    assert_eq!(placed(&entries, "B", period("2010-01-01..2015-01-01")), Ok(Placement::Added));
}

#[test]
fn place_accepts_past_entry_before_unknown_start() {
    let entries = [entry(1, "A", "..")];
    assert_eq!(placed(&entries, "B", period("2010-01-01..2015-01-01")), Ok(Placement::Added));
    let entries = [entry(1, "A", "2010-01-01..2015-01-01")];
    assert_eq!(placed(&entries, "B", period("..2020-01-01")), Ok(Placement::Added));
    assert_eq!(placed(&entries, "B", period("..")), Ok(Placement::Added));
    // An entry that holds today conflicts with an unknown start.
    let entries = [entry(1, "A", "2010-01-01..2040-01-01")];
    assert_eq!(placed(&entries, "B", period("..")), Err(TimelineError::Overlap(vec![id(1)])));
}

#[test]
fn place_rejects_second_scheduled_and_far_entry() {
    assert_eq!(placed(&[], "A", period("2027-03-11..")), Ok(Placement::Added));
    assert_eq!(placed(&[], "A", period("2027-03-12..")), Err(TimelineError::TooFar));
    let entries = [entry(1, "A", "2026-04-01..2026-05-01")];
    let second = placed(&entries, "B", period("2026-05-01.."));
    assert_eq!(second, Err(TimelineError::ScheduledExists(id(1))));
}

#[test]
fn close_at_next_ends_open_period() {
    let given = [period("2019-07-01.."), period(".."), period("2012-01-01..2013-01-01")];
    let closed = close_at_next(&given);
    assert_eq!(closed[0], period("2019-07-01.."));
    assert_eq!(closed[1], period("..2012-01-01"));
    assert_eq!(closed[2], given[2]);
}

fn any_period() -> impl Strategy<Value = Period> {
    let date = || proptest::option::of(0_u64..40);
    (date(), date()).prop_filter_map("ends after its start", |(from, to)| {
        let date = |days: u64| day("2025-12-01").checked_add_days(Days::new(days)).unwrap();
        let period = Period { from: from.map(date), to: to.map(date) };
        period.is_valid().then_some(period)
    })
}

proptest! {
    /// No two entries overlap after any sequence of placements.
    #[test]
    fn placed_entries_never_overlap(periods in proptest::collection::vec(any_period(), 0..12)) {
        let mut entries: Vec<Entry> = Vec::new();
        for (n, at) in periods.into_iter().enumerate() {
            let text = format!("v{n}");
            if placed(&entries, &text, at) == Ok(Placement::Added) {
                let key = TimelineKey::TradingName;
                let new = Entry::new(id(n as u128), id(0), key, value(key, &text), at, day(TODAY));
                entries.push(new);
            }
        }
        for (n, one) in entries.iter().enumerate() {
            for other in &entries[n + 1..] {
                prop_assert!(!one.period.collides(&other.period));
            }
        }
        let current = |entry: &&Entry| entry.period.status(day(TODAY)) == EntryStatus::Current;
        prop_assert!(entries.iter().filter(current).count() <= 1);
    }
}
