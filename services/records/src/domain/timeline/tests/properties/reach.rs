//! A test of the tests: the random histories come to everything there is.

use std::collections::HashSet;

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use super::{
    CASES,
    history::{Moment, histories},
};

#[test]
fn the_histories_reach_every_outcome_event_and_refusal() {
    let mut runner = TestRunner::deterministic();
    let mut moments: Vec<Moment> = Vec::new();
    for _ in 0..CASES {
        moments.extend(histories().new_tree(&mut runner).unwrap().current().moments());
    }
    let decisions = || moments.iter().filter_map(|moment| moment.decision.as_ref().ok());
    let outcomes: HashSet<_> =
        decisions().map(|made| std::mem::discriminant(&made.outcome)).collect();
    // All but that of midnight.
    assert_eq!(outcomes.len(), 8);
    let midnights = moments.iter().flat_map(|moment| &moment.midnight.events);
    let events = decisions().flat_map(|decision| &decision.events).chain(midnights);
    let events: HashSet<_> = events.map(|event| event.kind).collect();
    assert_eq!(events.len(), 8, "{events:?}");
    let refusals = moments.iter().filter_map(|moment| moment.decision.as_ref().err());
    let reasons: HashSet<_> =
        refusals.map(|refusal| shared::rules::reason_code(refusal.reason())).collect();
    // Entries, values and kinds of value are always right in them.
    for missing in ["NOT_FOUND", "VALUE_BLANK", "FIELD_NOT_APPLICABLE"] {
        assert!(!reasons.contains(missing));
    }
    assert_eq!(reasons.len(), 16, "{reasons:?}");
}
