use proptest::prelude::*;

use super::{
    super::{super::*, support::id},
    config,
    history::{Case, Command, History, decide, histories},
};

/// The accepted commands of a history, with their decisions.
fn accepted(history: &History) -> impl Iterator<Item = (Case, Decision)> {
    let accepted = |case: Case| case.decision.clone().ok().map(|made| (case, made));
    history.cases().into_iter().filter_map(accepted)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rescind_of_new_entry_restores_timeline(history in histories()) {
        for (case, decision) in accepted(&history) {
            let Command::Add(AddEntry { id, .. }) = case.command else { continue };
            if decision.outcome == Outcome::NoChange {
                continue;
            }
            match case.after.rescind(RescindEntry { id }) {
                Ok(rescinded) => prop_assert_eq!(case.after.apply(&rescinded), case.before),
                // A name whose only neighbour is a scheduled one.
                Err(refusal) => {
                    prop_assert_eq!(refusal, TimelineError::OnlyName(id));
                    prop_assert!(case.before.current().is_none());
                }
            }
        }
    }

    #[test]
    fn cancel_of_scheduled_entry_restores_timeline(history in histories()) {
        for (case, decision) in accepted(&history) {
            let Command::Add(AddEntry { id, .. }) = case.command else { continue };
            if decision.outcome != Outcome::Scheduled {
                continue;
            }
            match case.after.cancel(CancelScheduledEntry { id }) {
                Ok(cancelled) => prop_assert_eq!(case.after.apply(&cancelled), case.before),
                // The only name.
                Err(refusal) => {
                    prop_assert_eq!(refusal, TimelineError::OnlyName(id));
                    prop_assert!(case.before.entries().is_empty());
                }
            }
        }
    }

    #[test]
    fn rescind_of_past_entry_restores_timeline(history in histories()) {
        for (case, decision) in accepted(&history) {
            let Command::AddPast(AddPastEntry { id, .. }) = case.command else { continue };
            if decision.outcome == Outcome::NoChange {
                continue;
            }
            let rescinded = case.after.rescind(RescindEntry { id }).unwrap();
            prop_assert_eq!(case.after.apply(&rescinded), case.before);
        }
    }

    #[test]
    fn rescind_of_edited_entry_restores_timeline(
        history in histories(),
    ) {
        let corrections: Vec<Case> = history.cases();
        for (case, decision) in accepted(&history) {
            let (Command::Add(AddEntry { id, .. }) | Command::AddPast(AddPastEntry { id, .. })) =
                case.command
            else {
                continue;
            };
            if decision.outcome == Outcome::NoChange || case.before.key.is_contiguous() {
                continue;
            }
            let mut timeline = case.after.clone();
            for Case { command, .. } in &corrections {
                let of_it = match command {
                    Command::Correct(command) => {
                        Command::Correct(CorrectEntry { id, ..command.clone() })
                    }
                    Command::End(command) => Command::End(EndEntry { id, ..*command }),
                    _ => continue,
                };
                if let Ok(decision) = decide(&timeline, &of_it) {
                    timeline = timeline.apply(&decision);
                }
            }
            let rescinded = timeline.rescind(RescindEntry { id }).unwrap();
            prop_assert_eq!(timeline.apply(&rescinded), case.before);
        }
    }

    #[test]
    fn correct_back_restores_dates(history in histories()) {
        for (case, _) in accepted(&history) {
            let Command::Correct(CorrectEntry { id, .. }) = case.command else { continue };
            // On timelines with gaps, a shortened neighbour is not extended again.
            let pushed = case.before.moved(&case.after).any(|moved| moved != id);
            if pushed && !case.before.key.is_contiguous() {
                continue;
            }
            let old = case.before.entry(id).unwrap();
            let back = CorrectEntry {
                id,
                value: Some(old.value.clone()),
                period: Some(old.period),
                correct_history: true,
            };
            // The reverse of a status correction is a change of status, which is no
            // correction. A known start after another entry cannot become unknown again.
            let corrected = match case.after.correct(back) {
                Ok(corrected) => corrected,
                Err(TimelineError::StatusWouldChange(..)) => {
                    let now = case.after.entry(id).unwrap();
                    prop_assert_ne!(case.before.status(old), case.after.status(now));
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
            prop_assert_eq!(dates(&case.after.apply(&corrected)), dates(&case.before));
        }
    }

    #[test]
    fn repeated_command_is_noop(history in histories()) {
        for (case, _) in accepted(&history) {
            let again = match case.command {
                Command::Add(command) => Command::Add(AddEntry { id: id(999), ..command }),
                Command::AddPast(command) => {
                    Command::AddPast(AddPastEntry { id: id(999), ..command })
                }
                other => other,
            };
            if let Ok(decision) = decide(&case.after, &again) {
                prop_assert_eq!(decision.outcome, Outcome::NoChange);
            }
        }
    }
}
