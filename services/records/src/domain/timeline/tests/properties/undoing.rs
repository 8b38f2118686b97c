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
    fn a_past_entry_that_is_rescinded_leaves_everything_as_it_was(history in histories()) {
        for (moment, decision) in accepted(&history) {
            let Command::AddPast(AddPastEntry { id, .. }) = moment.command else { continue };
            if decision.outcome == Outcome::NoChange {
                continue;
            }
            let rescinded = moment.after.rescind(RescindEntry { id }).unwrap();
            prop_assert_eq!(moment.after.apply(&rescinded), moment.before);
        }
    }

    #[test]
    fn an_entry_that_is_ended_corrected_and_rescinded_leaves_everything_as_it_was(
        history in histories(),
    ) {
        let corrections: Vec<Moment> = history.moments();
        for (moment, decision) in accepted(&history) {
            let (Command::Add(AddEntry { id, .. }) | Command::AddPast(AddPastEntry { id, .. })) =
                moment.command
            else {
                continue;
            };
            if decision.outcome == Outcome::NoChange || moment.before.key.is_contiguous() {
                continue;
            }
            let mut timeline = moment.after.clone();
            for Moment { command, .. } in &corrections {
                let of_it = match command {
                    Command::Correct(command) => Command::Correct(CorrectEntry { id, ..command.clone() }),
                    Command::End(command) => Command::End(EndEntry { id, ..*command }),
                    _ => continue,
                };
                if let Ok(decision) = decide(&timeline, &of_it) {
                    timeline = timeline.apply(&decision);
                }
            }
            let rescinded = timeline.rescind(RescindEntry { id }).unwrap();
            prop_assert_eq!(timeline.apply(&rescinded), moment.before);
        }
    }

    #[test]
    fn a_correction_that_is_corrected_back_leaves_all_dates_as_they_were(history in histories()) {
        for (moment, _) in accepted(&history) {
            let Command::Correct(CorrectEntry { id, .. }) = moment.command else { continue };
            // Where gaps are allowed, a shortened neighbour is not extended again.
            let pushed = moment.before.moved(&moment.after).any(|moved| moved != id);
            if pushed && !moment.before.key.is_contiguous() {
                continue;
            }
            let old = moment.before.entry(id).unwrap();
            let back = CorrectEntry {
                id,
                value: Some(old.value.clone()),
                period: Some(old.period),
                correct_history: true,
            };
            // What was a slip one way is a change of the world the other way, and a
            // start that is known after another entry is not forgotten again.
            let corrected = match moment.after.correct(back) {
                Ok(corrected) => corrected,
                Err(Refusal::StatusWouldChange(..)) => {
                    let now = moment.after.entry(id).unwrap();
                    prop_assert_ne!(moment.before.status(old), moment.after.status(now));
                    continue;
                }
                Err(refusal) => {
                    prop_assert!(old.period.from.is_none(), "{}", refusal);
                    continue;
                }
            };
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
