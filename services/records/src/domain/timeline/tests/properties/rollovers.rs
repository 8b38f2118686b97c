use std::collections::HashSet;

use concord_proto::pb::records::EntryStatus;
use proptest::prelude::*;
use uuid::Uuid;

use super::{super::super::*, config, history::histories};

/// The entries of the events of a kind.
fn reported(decision: &Decision, kind: EventKind) -> HashSet<Uuid> {
    decision.events.iter().filter(|event| event.kind == kind).map(|event| event.entry).collect()
}

/// The entries whose status changes between `before` and `after`, and whose old and new
/// status satisfy `is`.
fn status_changed(
    before: &Timeline,
    after: &Timeline,
    is: fn(EntryStatus, EntryStatus) -> bool,
) -> HashSet<Uuid> {
    let changed = |entry: &&Entry| {
        let old = before.entry(entry.id).map(|old| before.status(old));
        old.is_ok_and(|old| is(old, after.status(entry)))
    };
    after.entries().iter().filter(changed).map(|entry| entry.id).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn begun_entries_become_current_once(history in histories()) {
        for pair in history.cases().windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            let begun = status_changed(&one.after, &next.before, |old, new| {
                old == EntryStatus::Scheduled && new != EntryStatus::Scheduled
            });
            let reported = reported(&next.rollover, EventKind::BecameCurrent);
            let count = next.rollover.events.iter().filter(|e| e.kind == EventKind::BecameCurrent);
            prop_assert_eq!(count.count(), reported.len());
            prop_assert_eq!(reported, begun);
        }
    }

    #[test]
    fn ended_events_match_status_changes(history in histories()) {
        let ends = |old, new| old != EntryStatus::Past && new == EntryStatus::Past;
        let cases = history.cases();
        for case in &cases {
            let Ok(decision) = &case.decision else { continue };
            let ended = status_changed(&case.before, &case.after, ends);
            prop_assert!(reported(decision, EventKind::Ended).is_subset(&ended));
        }
        for pair in cases.windows(2) {
            let ended = status_changed(&pair[0].after, &pair[1].before, ends);
            prop_assert!(reported(&pair[1].rollover, EventKind::Ended).is_subset(&ended));
        }
    }

    #[test]
    fn rollover_changes_no_dates_and_no_values(history in histories()) {
        for case in history.cases() {
            let keeps_dates = |edit: &Edit| match edit {
                Edit::SetDates { id, period, declared, cuts, .. } => {
                    case.before.entry(*id).is_ok_and(|entry| {
                        (entry.period, entry.declared) == (*period, *declared)
                            && entry.cuts == *cuts
                    })
                }
                _ => false,
            };
            prop_assert!(case.rollover.edits.iter().all(keeps_dates));
        }
    }
}
