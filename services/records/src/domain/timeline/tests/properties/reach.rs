//! Checks that the random histories cover all outcomes, events and errors.

use std::collections::HashSet;

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use super::{
    CASES,
    history::{Case, histories},
};

#[test]
fn histories_reach_every_outcome_event_and_error() {
    let mut runner = TestRunner::deterministic();
    let mut cases: Vec<Case> = Vec::new();
    for _ in 0..CASES {
        cases.extend(histories().new_tree(&mut runner).unwrap().current().cases());
    }
    let decisions = || cases.iter().filter_map(|case| case.decision.as_ref().ok());
    let outcomes: HashSet<_> =
        decisions().map(|made| std::mem::discriminant(&made.outcome)).collect();
    // All but the outcome of a rollover.
    assert_eq!(outcomes.len(), 8);
    let rollovers = cases.iter().flat_map(|case| &case.rollover.events);
    let events = decisions().flat_map(|decision| &decision.events).chain(rollovers);
    let events: HashSet<_> = events.map(|event| event.kind).collect();
    assert_eq!(events.len(), 8, "{events:?}");
    let refusals = cases.iter().filter_map(|case| case.decision.as_ref().err());
    let reasons: HashSet<_> =
        refusals.map(|refusal| concord_core::rules::reason_code(refusal.reason())).collect();
    // Histories use existing entries and valid values only.
    for missing in ["NOT_FOUND", "VALUE_BLANK", "FIELD_NOT_APPLICABLE"] {
        assert!(!reasons.contains(missing));
    }
    assert_eq!(reasons.len(), 16, "{reasons:?}");
}
