//! The tests of the model.

use std::collections::BTreeSet;

use super::{
    coverage::Coverage,
    observer::{Property, Violation},
    schedule,
    setup::{Defect, Ordering, Setup},
};

/// The number of steps that are shown of a failed schedule.
const LAST_STEPS: usize = 60;

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// Replays the schedule of a seed, and panics with the steps before its violations.
fn fail(seed: u64) -> ! {
    let outcome = schedule::run(seed, Setup::CORRECT, true);
    let from = outcome.trace.len().saturating_sub(LAST_STEPS);
    let steps = outcome.trace[from..].join("\n");
    let violations = outcome.violations.iter();
    let violations: Vec<_> = violations
        .map(|Violation { property, what }| format!("not {property:?}: {what}"))
        .collect();
    panic!(
        "{steps}\n\n{}\n\nsee all of it with CONCORD_SCHEDULE_SEED={seed}",
        violations.join("\n")
    );
}

#[test]
fn schedules_hold_the_seven_properties() {
    if let Some(seed) = number_of("CONCORD_SCHEDULE_SEED") {
        eprintln!("{}", schedule::run(seed, Setup::CORRECT, true).trace.join("\n"));
        return assert_holds(seed);
    }
    for seed in 0..number_of("CONCORD_SCHEDULES").unwrap_or(10_000) {
        assert_holds(seed);
    }
}

fn assert_holds(seed: u64) {
    if !schedule::run(seed, Setup::CORRECT, false).violations.is_empty() {
        fail(seed);
    }
}

#[test]
fn schedule_replay_is_deterministic() {
    let run = || schedule::run(17, Setup::CORRECT, true).trace;
    assert!(run().len() > 50);
    assert_eq!(run(), run());
}

#[test]
fn every_event_is_covered() {
    const SCHEDULES: u64 = 1_000;
    /// The minimum of every count.
    const AT_LEAST: usize = 100;
    let mut coverage = Coverage::default();
    for seed in 0..SCHEDULES {
        coverage += schedule::run(seed, Setup::CORRECT, false).coverage;
    }
    let rare = coverage.counts().into_iter().filter(|(_, count)| *count < AT_LEAST);
    assert_eq!(rare.collect::<Vec<_>>(), [], "of {coverage:#?}");
}

/// The properties that a schedule violates.
fn violated(seed: u64, setup: Setup) -> BTreeSet<Property> {
    let violations = schedule::run(seed, setup, false).violations;
    violations.into_iter().map(|violation| violation.property).collect()
}

/// As measured on PostgreSQL: the orders by number lose changes. The order by
/// transaction loses none, but reorders the changes of a record.
#[test]
fn rejected_orderings_violate_properties() {
    for (ordering, expected) in [
        (Ordering::Numbers, Property::Complete),
        (Ordering::NumbersBelowHorizon, Property::Complete),
        (Ordering::TransactionsBelowHorizon, Property::Monotonic),
    ] {
        let setup = Setup::of_ordering(ordering);
        let found: BTreeSet<Property> = (0..2_000).flat_map(|seed| violated(seed, setup)).collect();
        assert_eq!(found, BTreeSet::from([expected]), "{ordering:?}");
    }
}

/// The number of seeds within which a defect must be detected.
const SEEDS: u64 = 2_000;

fn assert_detected(defect: Defect, expected: Property) {
    let setup = Setup::with(defect);
    let is_detected = (0..SEEDS).any(|seed| violated(seed, setup).contains(&expected));
    assert!(is_detected, "no schedule shows that {defect:?} breaks {expected:?}");
}

#[test]
fn sequencer_defects_are_detected() {
    assert_detected(Defect::PendingReadBeforeLock, Property::Unique);
    assert_detected(Defect::HeadReadBeforeLock, Property::Unique);
    assert_detected(Defect::LastTakenNotDeleted, Property::Unique);
    assert_detected(Defect::NewestOfPracticeTaken, Property::Monotonic);
    assert_detected(Defect::SequencedInTwoTransactions, Property::Unique);
    assert_detected(Defect::NoRoundRobin, Property::Fair);
}

#[test]
fn writer_defects_are_detected() {
    assert_detected(Defect::SeqTakenBeforeLock, Property::Monotonic);
    assert_detected(Defect::PendingAfterCommit, Property::Monotonic);
}

#[test]
fn purge_defects_are_detected() {
    assert_detected(Defect::PurgedInTwoTransactions, Property::Dense);
    assert_detected(Defect::PurgeIgnoresPending, Property::Complete);
    assert_detected(Defect::PurgesNotSerialised, Property::Purged);
    assert_detected(Defect::FloorChangeNotStored, Property::CursorStable);
}

#[test]
fn cursor_defects_are_detected() {
    assert_detected(Defect::CursorCheckedInTwoStatements, Property::CursorStable);
    assert_detected(Defect::CursorWithoutChange, Property::CursorStable);
}

#[test]
fn connect_defects_are_detected() {
    assert_detected(Defect::ConnectDoesNotWait, Property::SnapshotConsistent);
}

#[test]
fn reader_defects_are_detected() {
    assert_detected(Defect::GapsSkipped, Property::Dense);
    assert_detected(Defect::HistoryNotChecked, Property::Resumable);
    assert_detected(Defect::SnapshotHeadReadLast, Property::SnapshotConsistent);
}
