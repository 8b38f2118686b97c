//! The tests.

use std::collections::BTreeSet;

use super::{
    coverage::Coverage,
    ordering::Ordering,
    schedule,
    setup::{Defect, Setup},
    witness::{Property, Violation},
};

/// So many of the last steps are shown of a schedule that fails.
const LAST_STEPS: usize = 60;

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// Runs the schedule of a seed again, and fails with what led to its violations.
fn fail(seed: u64) -> ! {
    let outcome = schedule::run(seed, Setup::REAL, true);
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
fn ten_thousand_schedules_hold_the_seven_properties() {
    if let Some(seed) = number_of("CONCORD_SCHEDULE_SEED") {
        eprintln!("{}", schedule::run(seed, Setup::REAL, true).trace.join("\n"));
        return assert_holds(seed);
    }
    for seed in 0..number_of("CONCORD_SCHEDULES").unwrap_or(10_000) {
        assert_holds(seed);
    }
}

fn assert_holds(seed: u64) {
    if !schedule::run(seed, Setup::REAL, false).violations.is_empty() {
        fail(seed);
    }
}

#[test]
fn a_schedule_can_be_replayed() {
    let run = || schedule::run(17, Setup::REAL, true).trace;
    assert!(run().len() > 50);
    assert_eq!(run(), run());
}

#[test]
fn everything_happens_often() {
    const SCHEDULES: u64 = 1_000;
    /// Of every count.
    const AT_LEAST: usize = 100;
    let mut coverage = Coverage::default();
    for seed in 0..SCHEDULES {
        coverage += schedule::run(seed, Setup::REAL, false).coverage;
    }
    let rare = coverage.counts().into_iter().filter(|(_, count)| *count < AT_LEAST);
    assert_eq!(rare.collect::<Vec<_>>(), [], "of {coverage:#?}");
}

/// What a schedule shows to be broken.
fn broken(seed: u64, setup: Setup) -> BTreeSet<Property> {
    let violations = schedule::run(seed, setup, false).violations;
    violations.into_iter().map(|violation| violation.property).collect()
}

/// As was measured on PostgreSQL: the orderings by number lose changes, and
/// that by transaction loses none, but has those of a record in a wrong order.
#[test]
fn each_rejected_ordering_fails() {
    for (ordering, expected) in [
        (Ordering::Numbers, Property::Complete),
        (Ordering::NumbersBelowHorizon, Property::Complete),
        (Ordering::TransactionsBelowHorizon, Property::Monotonic),
    ] {
        let setup = Setup::of_ordering(ordering);
        let found: BTreeSet<Property> = (0..2_000).flat_map(|seed| broken(seed, setup)).collect();
        assert_eq!(found, BTreeSet::from([expected]), "{ordering:?}");
    }
}

/// The seeds within which a defect has to be found.
const SEEDS: u64 = 2_000;

fn assert_found(defect: Defect, expected: Property) {
    let setup = Setup::with(defect);
    let is_found = (0..SEEDS).any(|seed| broken(seed, setup).contains(&expected));
    assert!(is_found, "no schedule shows that {defect:?} breaks {expected:?}");
}

#[test]
fn a_sequencer_that_is_wrong_is_found() {
    assert_found(Defect::PendingReadBeforeLock, Property::Unique);
    assert_found(Defect::HeadReadBeforeLock, Property::Unique);
    assert_found(Defect::LastTakenNotDeleted, Property::Unique);
    assert_found(Defect::NewestOfPracticeTaken, Property::Monotonic);
    assert_found(Defect::SequencedInTwo, Property::Unique);
    assert_found(Defect::FirstPracticeFirst, Property::Fair);
}

#[test]
fn a_writer_that_is_wrong_is_found() {
    assert_found(Defect::NumberedBeforeLock, Property::Monotonic);
    assert_found(Defect::AnnouncedAfterCommit, Property::Monotonic);
}

#[test]
fn a_purge_that_is_wrong_is_found() {
    assert_found(Defect::PurgedInTwo, Property::Dense);
    assert_found(Defect::PendingForgotten, Property::Complete);
    assert_found(Defect::PurgedAtOnce, Property::Purged);
    assert_found(Defect::FloorChangeForgotten, Property::Bookmarkable);
}

#[test]
fn a_cursor_that_is_wrong_is_found() {
    assert_found(Defect::CursorCheckedInTwo, Property::Bookmarkable);
    assert_found(Defect::CursorsUntagged, Property::Bookmarkable);
}

#[test]
fn a_connect_that_is_wrong_is_found() {
    assert_found(Defect::AnsweredAtOnce, Property::Copied);
}

#[test]
fn a_reader_that_is_wrong_is_found() {
    assert_found(Defect::HolesSteppedOver, Property::Dense);
    assert_found(Defect::PastForgotten, Property::Resumable);
    assert_found(Defect::SnapshotHeadReadLast, Property::Copied);
}
