use concord_proto::pb::records::EntryStatus;
use proptest::prelude::*;

use super::{
    super::super::{entry::next_status_change, *},
    config,
    history::{Command, History, decide, histories},
};

/// True if two entries overlap.
fn overlap(entries: &[Entry]) -> bool {
    entries
        .iter()
        .enumerate()
        .any(|(n, one)| entries[n + 1..].iter().any(|other| one.collides(other.period)))
}

/// The previous version of the entry whose dates an edit sets.
fn edit_of<'a>(before: &'a Timeline, edit: &Edit) -> Result<&'a Entry, TimelineError> {
    match edit {
        Edit::SetDates { id, .. } => before.entry(*id),
        _ => Err(TimelineError::ValueBlank),
    }
}

/// Checks all states of a history, also those between two edits.
fn every_state(history: &History, mut check: impl FnMut(&[Entry])) {
    for case in history.cases() {
        let mut entries = case.before.entries().to_vec();
        check(&entries);
        for edit in case.decision.iter().flat_map(|decision| &decision.edits) {
            edit.write_to(&mut entries);
            check(&entries);
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn entries_never_overlap_not_even_between_two_edits(history in histories()) {
        let mut overlapped = false;
        every_state(&history, |entries| overlapped |= overlap(entries));
        prop_assert!(!overlapped);
    }

    #[test]
    fn every_period_is_valid(history in histories()) {
        let mut invalid = false;
        every_state(&history, |entries| {
            invalid |= entries.iter().any(|entry| !entry.period.is_valid());
        });
        prop_assert!(!invalid);
    }

    #[test]
    fn names_are_contiguous_open_and_never_empty(history in histories()) {
        for case in history.cases().iter().filter(|m| m.after.key.is_contiguous()) {
            let entries = case.after.entries();
            prop_assert!(entries.last().is_some_and(|last| last.period.to.is_none()));
            prop_assert!(entries.windows(2).all(|pair| pair[0].touches(&pair[1])));
        }
    }

    #[test]
    fn at_most_one_entry_is_scheduled(history in histories()) {
        for case in history.cases() {
            let status = |entry: &&Entry| case.after.status(entry) == EntryStatus::Scheduled;
            prop_assert!(case.after.entries().iter().filter(status).count() <= 1);
        }
    }

    #[test]
    fn only_earliest_name_has_unknown_start(history in histories()) {
        for case in history.cases().iter().filter(|m| m.after.key.is_contiguous()) {
            let later = case.after.entries().iter().skip(1);
            prop_assert!(later.clone().all(|entry| entry.period.from.is_some()));
        }
    }

    #[test]
    fn correct_changes_status_only_by_status_correction(
        history in histories(),
    ) {
        for case in history.cases() {
            let (Command::Correct(command), Ok(decision)) = (&case.command, &case.decision)
            else {
                continue;
            };
            let overwrites =
                |edit: &Edit| matches!(edit, Edit::SetDates { .. } | Edit::SetValue { .. });
            prop_assert!(decision.edits.iter().all(overwrites));
            let reported = |timeline: &Timeline| -> Vec<_> {
                let reported = |entry: &Entry| (entry.id, timeline.status(entry));
                timeline.entries().iter().map(reported).collect()
            };
            let status_correction = case.before.status_correction(command).unwrap();
            let same = reported(&case.before) == reported(&case.after);
            prop_assert_eq!(same, status_correction.is_none(), "{:?}", status_correction);
        }
    }

    #[test]
    fn noop_has_no_edits_and_no_events(history in histories()) {
        for case in history.cases() {
            let Ok(decision) = &case.decision else { continue };
            let unchanged = decision.outcome == Outcome::NoChange;
            prop_assert_eq!(decision.edits.is_empty(), unchanged);
            prop_assert_eq!(decision.events.is_empty(), unchanged);
            prop_assert_eq!(case.before == case.after, unchanged);
        }
    }

    #[test]
    fn error_changes_nothing_and_is_repeatable(history in histories()) {
        for case in history.cases() {
            if let Err(refusal) = &case.decision {
                prop_assert_eq!(&case.before, &case.after);
                let again = decide(&case.before, &case.command);
                prop_assert_eq!(again.unwrap_err(), refusal.clone());
                prop_assert!(!refusal.to_string().is_empty());
            }
        }
    }

    #[test]
    fn every_visible_edit_has_an_event(history in histories()) {
        for case in history.cases() {
            let Ok(decision) = &case.decision else { continue };
            let mut entries = case.before.entries().to_vec();
            for edit in &decision.edits {
                let before = entries.clone();
                edit.write_to(&mut entries);
                prop_assert_ne!(&before, &entries);
                // Declared dates and cuts are not visible to callers.
                if let (Edit::SetDates { id, period, .. }, Ok(old)) =
                    (edit, edit_of(&case.before, edit))
                    && old.period == *period
                {
                    prop_assert_eq!(*id, old.id);
                    continue;
                }
                let (Edit::SetDates { id, .. } | Edit::SetValue { id, .. } | Edit::Remove(id)
                    | Edit::Insert(Entry { id, .. })) = edit;
                let names = |event: &EntryEvent| event.entry == *id || event.neighbour == Some(*id);
                prop_assert!(decision.events.iter().any(names));
            }
        }
    }

    #[test]
    fn period_is_declared_dates_without_cuts(history in histories()) {
        for case in history.cases() {
            let mut before = None;
            for entry in case.after.entries() {
                let left = entry.trimmed_period();
                prop_assert_eq!(entry.start_after(before), entry.period.from);
                before = Some(entry.id);
                prop_assert!(case.after.key.is_contiguous() || left.to == entry.period.to);
                for cut in &entry.cuts {
                    let by = case.after.entry(cut.by);
                    prop_assert!(by.is_ok_and(|by| by.id != entry.id), "{:?}", entry);
                }
            }
        }
    }

    #[test]
    fn reloaded_timeline_is_equal(history in histories()) {
        for case in history.cases() {
            let (today, key) = (case.after.today, case.after.key);
            let entries = case.after.entries().to_vec();
            let (again, _) = Timeline::on(today, case.after.owner, key, entries);
            prop_assert_eq!(again, case.after);
        }
    }

    #[test]
    fn every_entry_has_its_next_status_change(history in histories()) {
        for case in history.cases() {
            for entry in case.after.entries() {
                let next = next_status_change(entry.period, case.after.today);
                prop_assert_eq!(entry.status_changes_on, next);
            }
        }
    }

    #[test]
    fn apply_accepts_foreign_decisions(one in histories(), other in histories()) {
        for (case, foreign) in one.cases().iter().zip(other.cases()) {
            if let Ok(decision) = foreign.decision {
                let _ = case.after.apply(&decision);
            }
        }
    }
}
