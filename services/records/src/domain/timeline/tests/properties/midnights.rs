use std::collections::HashSet;

use proptest::prelude::*;

use super::{super::super::*, config, history::histories};

/// The entries that a decision says did something.
fn told(decision: &Decision, kind: EventKind) -> HashSet<Uuid> {
    decision.events.iter().filter(|event| event.kind == kind).map(|event| event.entry).collect()
}

/// The entries of `before` whose status is another in `after`: of the old status
/// `from`, and of the new one that `is` takes.
fn turned(
    before: &Timeline,
    after: &Timeline,
    is: fn(EntryStatus, EntryStatus) -> bool,
) -> HashSet<Uuid> {
    let turned = |entry: &&Entry| {
        let old = before.entry(entry.id).map(|old| before.status(old));
        old.is_ok_and(|old| is(old, after.status(entry)))
    };
    after.entries().iter().filter(turned).map(|entry| entry.id).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whoever_begins_at_midnight_becomes_current_once(history in histories()) {
        for pair in history.moments().windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            let begun = turned(&one.after, &next.before, |old, new| {
                old == EntryStatus::Scheduled && new != EntryStatus::Scheduled
            });
            prop_assert_eq!(told(&next.midnight, EventKind::BecameCurrent), begun);
            let count = next.midnight.events.iter().filter(|e| e.kind == EventKind::BecameCurrent);
            prop_assert_eq!(count.count(), told(&next.midnight, EventKind::BecameCurrent).len());
        }
    }

    #[test]
    fn whoever_is_said_to_have_ended_has_just_ended(history in histories()) {
        let ends = |old, new| old != EntryStatus::Past && new == EntryStatus::Past;
        let moments = history.moments();
        for moment in &moments {
            let Ok(decision) = &moment.decision else { continue };
            let ended = turned(&moment.before, &moment.after, ends);
            prop_assert!(told(decision, EventKind::Ended).is_subset(&ended));
        }
        for pair in moments.windows(2) {
            let ended = turned(&pair[0].after, &pair[1].before, ends);
            prop_assert!(told(&pair[1].midnight, EventKind::Ended).is_subset(&ended));
        }
    }

    #[test]
    fn midnight_changes_no_dates_and_no_values(history in histories()) {
        for moment in history.moments() {
            let turns = |edit: &Edit| match edit {
                Edit::SetDates { id, period, own, cuts, .. } => {
                    moment.before.entry(*id).is_ok_and(|entry| {
                        entry.period == *period && entry.own == *own && entry.cuts == *cuts
                    })
                }
                _ => false,
            };
            prop_assert!(moment.midnight.edits.iter().all(turns));
        }
    }
}
