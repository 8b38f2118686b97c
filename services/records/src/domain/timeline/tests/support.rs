//! Helpers of the tests.

use chrono::NaiveDate;
use concord_core::rules::{
    date::{Period, date_text, parse_date},
    value::{Address, PersonName, Value},
};
use concord_proto::pb::records::AddressType;
pub(super) use concord_proto::pb::records::ErrorReason;
use uuid::Uuid;

use super::super::*;

pub(super) const TODAY: &str = "2026-03-10";
pub(super) const ADDRESS: TimelineKey = TimelineKey::Address(AddressType::Trading);
pub(super) const NAMES: [TimelineKey; 2] = [TimelineKey::RegisteredName, TimelineKey::PersonName];
pub(super) const WITH_GAPS: [TimelineKey; 2] = [TimelineKey::TradingName, ADDRESS];

/// All four kinds of timeline.
pub(super) fn every_kind() -> impl Iterator<Item = TimelineKey> {
    NAMES.into_iter().chain(WITH_GAPS)
}

pub(super) fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// `2015-01-01..2020-01-01`, where either may be missing.
pub(super) fn period(text: &str) -> Period {
    let (from, to) = text.split_once("..").unwrap();
    Period::new(parse_date(from).unwrap(), parse_date(to).unwrap())
}

pub(super) fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// A value of the kind of the timeline.
pub(super) fn value(key: TimelineKey, text: &str) -> Value {
    let text = text.to_owned();
    match key {
        TimelineKey::RegisteredName | TimelineKey::TradingName => Value::Name(text),
        TimelineKey::PersonName => {
            Value::PersonName(PersonName { surname: text, ..PersonName::default() })
        }
        TimelineKey::Address(_) => Value::Address(Address { line_1: text, ..Address::default() }),
    }
}

/// The timeline of these rows on the day [`TODAY`].
pub(super) fn given(key: TimelineKey, rows: &[&str]) -> Timeline {
    given_on(TODAY, key, rows)
}

pub(super) fn given_on(today: &str, key: TimelineKey, rows: &[&str]) -> Timeline {
    let (timeline, rollover) = Timeline::on(day(today), id(0), key, entries(today, key, rows));
    assert_eq!(rollover.outcome, Outcome::NoChange);
    timeline
}

/// Entries that were last written on the day `written`.
pub(super) fn entries(written: &str, key: TimelineKey, rows: &[&str]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = rows
        .iter()
        .map(|row| {
            let mut parts = row.split(' ');
            let mut next = || parts.next().unwrap();
            let (n, text, dates) = (next().parse().unwrap(), next(), period(next()));
            Entry::new(id(n), id(0), key, value(key, text), dates, day(written))
        })
        .collect();
    let touched = entries.iter().map(|entry| entries.iter().any(|next| entry.touches(next)));
    let touched: Vec<bool> = touched.collect();
    for ((entry, row), touched) in entries.iter_mut().zip(rows).zip(touched) {
        match row.split_once(" own ") {
            None if touched => entry.declared.to = None,
            None => {}
            Some((_, own_to)) => entry.declared.to = Some(day(own_to)),
        }
    }
    entries
}

/// The rows of a timeline, as [`given`] takes them.
pub(super) fn shown(timeline: &Timeline) -> Vec<String> {
    let shown = |entry: &Entry| {
        let Period { from, to } = entry.period;
        let touches = timeline.touching_after(entry).is_some();
        let usual = if touches { None } else { to };
        let own = match entry.declared.to {
            // The declared end of a name only marks a past name.
            _ if timeline.key.is_contiguous() => String::new(),
            own if own == usual => String::new(),
            None => " own none".to_owned(),
            Some(own) => format!(" own {own}"),
        };
        let (n, text) = (entry.id.as_u128(), entry.value.display());
        format!("{n} {text} {}..{}{own}", date_text(from), date_text(to))
    };
    timeline.entries().iter().map(shown).collect()
}

/// The events of a decision: `Added 2 with 1`.
pub(super) fn reported(decision: &Decision) -> Vec<String> {
    let reported = |event: &EntryEvent| {
        let EntryEvent { kind, entry, neighbour } = event;
        let with = neighbour.map(|id| format!(" with {}", id.as_u128())).unwrap_or_default();
        format!("{kind:?} {}{with}", entry.as_u128())
    };
    decision.events.iter().map(reported).collect()
}

pub(super) fn add(n: u128, key: TimelineKey, text: &str, on: &str) -> AddEntry {
    AddEntry { id: id(n), value: value(key, text), effective_on: parse_date(on).unwrap() }
}

pub(super) fn past(n: u128, key: TimelineKey, text: &str, dates: &str) -> AddPastEntry {
    AddPastEntry { id: id(n), value: value(key, text), period: period(dates), trim: false }
}

pub(super) fn trimming(n: u128, key: TimelineKey, text: &str, dates: &str) -> AddPastEntry {
    AddPastEntry { trim: true, ..past(n, key, text, dates) }
}

pub(super) fn correct_value(n: u128, key: TimelineKey, text: &str) -> CorrectEntry {
    let value = Some(value(key, text));
    CorrectEntry { id: id(n), value, period: None, correct_history: true }
}

pub(super) fn correct_dates(n: u128, dates: &str) -> CorrectEntry {
    CorrectEntry { id: id(n), value: None, period: Some(period(dates)), correct_history: true }
}

pub(super) fn end(n: u128, on: &str) -> EndEntry {
    EndEntry { id: id(n), ended_on: parse_date(on).unwrap() }
}

pub(super) fn cancel(n: u128) -> CancelScheduledEntry {
    CancelScheduledEntry { id: id(n) }
}

pub(super) fn rescind(n: u128) -> RescindEntry {
    RescindEntry { id: id(n) }
}

/// Checks that a command is accepted, with these rows and events.
#[track_caller]
pub(super) fn accepted(
    timeline: &Timeline,
    decision: Result<Decision, TimelineError>,
    outcome: Outcome,
    rows: &[&str],
    events: &[&str],
) -> Timeline {
    let decision = decision.unwrap();
    assert_eq!(decision.outcome, outcome);
    assert_eq!(reported(&decision), events);
    let after = timeline.apply(&decision);
    assert_eq!(shown(&after), rows);
    after
}

/// Checks that a command is a no-op, with this entry.
#[track_caller]
pub(super) fn noop(decision: Result<Decision, TimelineError>, n: u128) {
    let decision = decision.unwrap();
    assert_eq!(decision, Decision::no_change(id(n)));
    assert!(decision.edits.is_empty() && decision.events.is_empty());
}

/// Checks that a command is rejected for this reason, with these entries.
#[track_caller]
pub(super) fn rejected(
    decision: Result<Decision, TimelineError>,
    reason: ErrorReason,
    ids: &[u128],
) {
    let refusal = decision.unwrap_err();
    assert_eq!(refusal.reason(), reason, "{refusal}");
    let ids: Vec<Uuid> = ids.iter().map(|n| id(*n)).collect();
    assert_eq!(refusal.entries(), ids, "{refusal}");
}
