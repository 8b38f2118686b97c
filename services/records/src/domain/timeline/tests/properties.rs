//! Property tests: invariants of random histories.

mod history;
mod invariants;
mod oracle;
mod reach;
mod rollovers;
mod undoing;

use chrono::NaiveDate;
use concord_core::rules::{date::Period, value::Value};
use proptest::prelude::ProptestConfig;

use super::super::*;

/// Histories per property, of up to 13 commands each.
const CASES: u32 = 1_024;

fn config() -> ProptestConfig {
    ProptestConfig::with_cases(CASES)
}

/// The value that held on `day`. An entry with an unknown start begins after the entries
/// that end before it.
fn value_on(timeline: &Timeline, day: NaiveDate) -> Option<&Value> {
    let held = timeline.entries().iter().filter(|entry| entry.period.contains(day));
    let latest_known_start = |entry: &&Entry| {
        let Period { from, to } = entry.period;
        (from, std::cmp::Reverse(to.unwrap_or(NaiveDate::MAX)))
    };
    held.max_by_key(latest_known_start).map(|entry| &entry.value)
}
