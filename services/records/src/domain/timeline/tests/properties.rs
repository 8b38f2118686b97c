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

/// The value that held on `day`.
fn value_on(timeline: &Timeline, day: NaiveDate) -> Option<&Value> {
    let held = timeline.entries().iter().find(|entry| entry.period.contains(day));
    held.map(|entry| &entry.value)
}
