use proptest::prelude::*;

use super::{
    super::super::{entry::next_turn, *},
    config,
    history::{Command, History, decide, histories},
};

/// The states that a history goes through, between two edits too.
fn overlap(entries: &[Entry]) -> bool {
    entries
        .iter()
        .enumerate()
        .any(|(n, one)| entries[n + 1..].iter().any(|other| one.collides(other.period)))
}

/// The entry that an edit of dates is about, as it was.
fn edit_of<'a>(before: &'a Timeline, edit: &Edit) -> Result<&'a Entry, Refusal> {
    match edit {
        Edit::SetDates { id, .. } => before.entry(*id),
        _ => Err(Refusal::ValueBlank),
    }
}

/// What each decision of a history did: its edits, written one by one.
fn every_state(history: &History, mut check: impl FnMut(&[Entry])) {
    for moment in history.moments() {
        let mut entries = moment.before.entries().to_vec();
        check(&entries);
        for edit in moment.decision.iter().flat_map(|decision| &decision.edits) {
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
    fn every_entry_has_a_day(history in histories()) {
        let mut invalid = false;
        every_state(&history, |entries| {
            invalid |= entries.iter().any(|entry| !entry.period.is_valid());
        });
        prop_assert!(!invalid);
    }

    #[test]
    fn names_have_no_gaps_and_no_end_and_are_never_without_an_entry(history in histories()) {
        for moment in history.moments().iter().filter(|m| m.after.key.is_contiguous()) {
            let entries = moment.after.entries();
            prop_assert!(entries.last().is_some_and(|last| last.period.to.is_none()));
            prop_assert!(entries.windows(2).all(|pair| pair[0].touches(&pair[1])));
        }
    }

    #[test]
    fn at_most_one_entry_is_scheduled(history in histories()) {
        for moment in history.moments() {
            let status = |entry: &&Entry| moment.after.status(entry) == EntryStatus::Scheduled;
            prop_assert!(moment.after.entries().iter().filter(status).count() <= 1);
        }
    }

    #[test]
    fn only_the_earliest_name_has_an_unknown_start(history in histories()) {
        for moment in history.moments().iter().filter(|m| m.after.key.is_contiguous()) {
            let later = moment.after.entries().iter().skip(1);
            prop_assert!(later.clone().all(|entry| entry.period.from.is_some()));
        }
    }

    #[test]
    fn a_correction_adds_and_removes_nothing_and_changes_a_status_by_a_slip_alone(
        history in histories(),
    ) {
        for moment in history.moments() {
            let (Command::Correct(command), Ok(decision)) = (&moment.command, &moment.decision)
            else {
                continue;
            };
            let overwrites =
                |edit: &Edit| matches!(edit, Edit::SetDates { .. } | Edit::SetValue { .. });
            prop_assert!(decision.edits.iter().all(overwrites));
            let told = |timeline: &Timeline| -> Vec<_> {
                let told = |entry: &Entry| (entry.id, timeline.status(entry));
                timeline.entries().iter().map(told).collect()
            };
            let slip = moment.before.slip(command).unwrap();
            let same = told(&moment.before) == told(&moment.after);
            prop_assert_eq!(same, slip.is_none(), "{:?}", slip);
        }
    }

    #[test]
    fn no_change_writes_and_tells_nothing_and_all_else_does_both(history in histories()) {
        for moment in history.moments() {
            let Ok(decision) = &moment.decision else { continue };
            let unchanged = decision.outcome == Outcome::NoChange;
            prop_assert_eq!(decision.edits.is_empty(), unchanged);
            prop_assert_eq!(decision.events.is_empty(), unchanged);
            prop_assert_eq!(moment.before == moment.after, unchanged);
        }
    }

    #[test]
    fn a_refusal_changes_nothing_and_is_given_again(history in histories()) {
        for moment in history.moments() {
            if let Err(refusal) = &moment.decision {
                prop_assert_eq!(&moment.before, &moment.after);
                let again = decide(&moment.before, &moment.command);
                prop_assert_eq!(again.unwrap_err(), refusal.clone());
                prop_assert!(!refusal.to_string().is_empty());
            }
        }
    }

    #[test]
    fn every_edit_that_is_seen_changes_an_entry_that_an_event_names(history in histories()) {
        for moment in history.moments() {
            let Ok(decision) = &moment.decision else { continue };
            let mut entries = moment.before.entries().to_vec();
            for edit in &decision.edits {
                let before = entries.clone();
                edit.write_to(&mut entries);
                prop_assert_ne!(&before, &entries);
                // What an entry has of its own is nothing that callers see.
                if let (Edit::SetDates { id, period, .. }, Ok(old)) =
                    (edit, edit_of(&moment.before, edit))
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
    fn a_period_is_what_others_have_left_of_an_entrys_own_dates(history in histories()) {
        for moment in history.moments() {
            let mut before = None;
            for entry in moment.after.entries() {
                let left = entry.left();
                prop_assert_eq!(entry.start_after(before), entry.period.from);
                before = Some(entry.id);
                prop_assert!(moment.after.key.is_contiguous() || left.to == entry.period.to);
                for cut in &entry.cuts {
                    let by = moment.after.entry(cut.by);
                    prop_assert!(by.is_ok_and(|by| by.id != entry.id), "{:?}", entry);
                }
            }
        }
    }

    #[test]
    fn a_timeline_that_is_read_again_is_the_same(history in histories()) {
        for moment in history.moments() {
            let (today, key) = (moment.after.today, moment.after.key);
            let entries = moment.after.entries().to_vec();
            let (again, _) = Timeline::on(today, moment.after.owner, key, entries);
            prop_assert_eq!(again, moment.after);
        }
    }

    #[test]
    fn every_entry_knows_its_next_midnight(history in histories()) {
        for moment in history.moments() {
            for entry in moment.after.entries() {
                prop_assert_eq!(entry.turns_on, next_turn(entry.period, moment.after.today));
            }
        }
    }

    #[test]
    fn any_decision_can_be_applied_to_any_timeline(one in histories(), other in histories()) {
        for (moment, foreign) in one.moments().iter().zip(other.moments()) {
            if let Ok(decision) = foreign.decision {
                let _ = moment.after.apply(&decision);
            }
        }
    }
}
