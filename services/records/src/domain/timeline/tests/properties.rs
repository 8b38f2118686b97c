//! What holds whatever is done to a timeline.

mod history;
mod invariants;
mod midnights;
mod oracle;
mod reach;
mod undoing;

use proptest::prelude::ProptestConfig;

use super::super::*;

/// Each property is tried on so many histories of up to 13 commands.
const CASES: u32 = 1_024;

fn config() -> ProptestConfig {
    ProptestConfig::with_cases(CASES)
}

/// The value that held on `day`. An entry with an unknown start began after those
/// that ended before it.
fn value_on(timeline: &Timeline, day: NaiveDate) -> Option<&Value> {
    let held = timeline.entries().iter().filter(|entry| entry.period.contains(day));
    let latest_known_start = |entry: &&Entry| {
        let Period { from, to } = entry.period;
        (from, std::cmp::Reverse(to.unwrap_or(NaiveDate::MAX)))
    };
    held.max_by_key(latest_known_start).map(|entry| &entry.value)
}
