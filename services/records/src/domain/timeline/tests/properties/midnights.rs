use std::collections::HashMap;

use proptest::prelude::*;

use super::{
    super::super::*,
    config,
    history::{Moment, histories},
};

/// How often each entry was said to have done something.
fn counts(moments: &[Moment], kind: EventKind) -> HashMap<Uuid, usize> {
    let mut counts = HashMap::new();
    for moment in moments {
        let decided = moment.decision.iter().flat_map(|decision| &decision.events);
        for event in moment.midnight.events.iter().chain(decided) {
            if event.kind == kind {
                *counts.entry(event.entry).or_default() += 1;
            }
        }
    }
    counts
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn each_scheduled_entry_becomes_current_once(history in histories()) {
        let moments = history.moments();
        let told = counts(&moments, EventKind::BecameCurrent);
        let mut scheduled: HashMap<Uuid, bool> = HashMap::new();
        for moment in &moments {
            for entry in moment.before.entries().iter().chain(moment.after.entries()) {
                let begun = moment.after.status(entry) != EntryStatus::Scheduled;
                scheduled.entry(entry.id).or_insert(!begun);
            }
        }
        for entry in moments.last().iter().flat_map(|moment| moment.after.entries()) {
            let begun = moments.last().unwrap().after.status(entry) != EntryStatus::Scheduled;
            // One that began before the first moment was told then.
            let at_once = EntryEvent::new(EventKind::BecameCurrent, entry.id);
            let is_it = |event: &EntryEvent| event.with(None) == at_once;
            let at_once = moments[0].midnight.events.iter().any(is_it);
            let expected = usize::from(begun && (scheduled[&entry.id] || at_once));
            let told = told.get(&entry.id).copied().unwrap_or_default();
            prop_assert_eq!(told, expected, "{:?}", entry);
        }
        prop_assert!(told.values().all(|times| *times == 1));
    }

    #[test]
    fn each_entry_ends_once(history in histories()) {
        let told = counts(&history.moments(), EventKind::Ended);
        prop_assert!(told.values().all(|times| *times == 1));
    }

    #[test]
    fn midnight_changes_no_dates_and_no_values(history in histories()) {
        for moment in history.moments() {
            let turns = |edit: &Edit| match edit {
                Edit::SetDates { id, period, own_to, .. } => {
                    moment.before.entry(*id).is_ok_and(|entry| {
                        entry.period == *period && entry.own_to == *own_to
                    })
                }
                _ => false,
            };
            prop_assert!(moment.midnight.edits.iter().all(turns));
        }
    }
}
