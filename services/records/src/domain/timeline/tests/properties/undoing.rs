use proptest::prelude::*;

use super::{
    super::{super::*, support::id},
    config,
    history::{Command, History, Moment, decide, histories},
};

/// The moments of a history at which a command did something.
fn accepted(history: &History) -> impl Iterator<Item = (Moment, Decision)> {
    let accepted = |moment: Moment| moment.decision.clone().ok().map(|made| (moment, made));
    history.moments().into_iter().filter_map(accepted)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_new_entry_that_is_rescinded_leaves_everything_as_it_was(history in histories()) {
        for (moment, decision) in accepted(&history) {
            let Command::Add(AddEntry { id, .. }) = moment.command else { continue };
            if decision.outcome == Outcome::NoChange {
                continue;
            }
            match moment.after.rescind(RescindEntry { id }) {
                Ok(rescinded) => prop_assert_eq!(moment.after.apply(&rescinded), moment.before),
                // A name that has only a scheduled one beside it.
                Err(refusal) => {
                    prop_assert_eq!(refusal, Refusal::OnlyName(id));
                    prop_assert!(moment.before.current().is_none());
                }
            }
        }
    }

    #[test]
    fn a_scheduled_entry_that_is_cancelled_leaves_everything_as_it_was(history in histories()) {
        for (moment, decision) in accepted(&history) {
            let Command::Add(AddEntry { id, .. }) = moment.command else { continue };
            if decision.outcome != Outcome::Scheduled {
                continue;
            }
            match moment.after.cancel(CancelScheduledEntry { id }) {
                Ok(cancelled) => prop_assert_eq!(moment.after.apply(&cancelled), moment.before),
                // The first name there is.
                Err(refusal) => {
                    prop_assert_eq!(refusal, Refusal::OnlyName(id));
                    prop_assert!(moment.before.entries().is_empty());
                }
            }
        }
    }

    #[test]
    fn a_past_entry_that_is_rescinded_leaves_no_trace_among_gaps(history in histories()) {
        for (moment, decision) in accepted(&history) {
            let Command::AddPast(AddPastEntry { id, .. }) = moment.command else { continue };
            let alone = matches!(decision.edits.as_slice(), [Edit::Insert(_)]);
            if alone && !moment.before.key.is_contiguous() {
                let rescinded = moment.after.rescind(RescindEntry { id }).unwrap();
                prop_assert_eq!(moment.after.apply(&rescinded), moment.before);
            }
        }
    }

    #[test]
    fn a_correction_that_is_corrected_back_leaves_all_dates_as_they_were(history in histories()) {
        for (moment, _) in accepted(&history) {
            let Command::Correct(CorrectEntry { id, .. }) = moment.command else { continue };
            let old = moment.before.entry(id).unwrap();
            // Entries that touch move together, also when a correction brought
            // them together: that is not taken back by the dates of one of them.
            let touching = |timeline: &Timeline| {
                let entry = timeline.entry(id).unwrap();
                let (before, after) =
                    (timeline.touching_before(entry), timeline.touching_after(entry));
                (before.is_some(), after.is_some())
            };
            if touching(&moment.before) != touching(&moment.after) {
                continue;
            }
            let back = CorrectEntry {
                id,
                value: Some(old.value.clone()),
                period: Some(old.period),
                correct_history: true,
            };
            let corrected = moment.after.correct(back).unwrap();
            let dates = |timeline: &Timeline| -> Vec<_> {
                let dates = |entry: &Entry| (entry.id, entry.value.clone(), entry.period);
                timeline.entries().iter().map(dates).collect()
            };
            prop_assert_eq!(dates(&moment.after.apply(&corrected)), dates(&moment.before));
        }
    }

    #[test]
    fn what_is_said_twice_is_done_once(history in histories()) {
        for (moment, _) in accepted(&history) {
            let again = match moment.command {
                Command::Add(command) => Command::Add(AddEntry { id: id(999), ..command }),
                Command::AddPast(command) => {
                    Command::AddPast(AddPastEntry { id: id(999), ..command })
                }
                other => other,
            };
            if let Ok(decision) = decide(&moment.after, &again) {
                prop_assert_eq!(decision.outcome, Outcome::NoChange);
            }
        }
    }
}
