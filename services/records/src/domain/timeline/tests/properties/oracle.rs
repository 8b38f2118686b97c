//! Compares the values of each day before and after a command.

use chrono::NaiveDate;
use proptest::prelude::*;

use super::{
    super::super::*,
    config,
    history::{Command, date, histories},
    value_on,
};

fn days(today: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    (-250..450).map(move |days| date(today, days))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn added_value_holds_until_scheduled_entry(history in histories()) {
        for case in history.cases() {
            let (Command::Add(command), Ok(decision)) = (&case.command, &case.decision) else {
                continue;
            };
            if decision.outcome == Outcome::NoChange {
                continue;
            }
            let before = &case.before;
            let from = command.effective_on.unwrap_or(before.today);
            let next = before.scheduled().and_then(|entry| entry.period.from);
            for day in days(before.today) {
                let new = from <= day && next.is_none_or(|next| day < next);
                let expected = if new { Some(&command.value) } else { value_on(before, day) };
                prop_assert_eq!(value_on(&case.after, day), expected, "{}", day);
            }
        }
    }

    #[test]
    fn past_name_changes_only_its_period(history in histories()) {
        for case in history.cases() {
            let (Command::AddPast(command), Ok(_)) = (&case.command, &case.decision) else {
                continue;
            };
            if !case.before.key.is_contiguous() {
                continue;
            }
            let to = command.period.to.unwrap();
            for day in days(case.before.today) {
                let entry = case.before.entries().iter().find(|e| e.period.contains(day));
                let claims = |entry: &&Entry| {
                    entry.period.from.is_some()
                        || to <= day
                        || entry.period.to.is_some_and(|end| end <= to)
                };
                let expected = if command.period.contains(day) {
                    Some(&command.value)
                } else {
                    entry.filter(claims).map(|entry| &entry.value)
                };
                prop_assert_eq!(value_on(&case.after, day), expected, "{}", day);
            }
        }
    }

    #[test]
    fn past_address_changes_only_its_known_days(history in histories()) {
        for case in history.cases() {
            let (Command::AddPast(command), Ok(_)) = (&case.command, &case.decision) else {
                continue;
            };
            if case.before.key.is_contiguous() {
                continue;
            }
            for day in days(case.before.today) {
                let known = |entry: &&Entry| entry.period.known().contains(day);
                let held = |timeline: &Timeline| {
                    timeline.entries().iter().find(known).map(|entry| entry.value.clone())
                };
                let expected = if command.period.known().contains(day) {
                    Some(command.value.clone())
                } else {
                    held(&case.before).filter(|_| !command.period.contains(day))
                };
                // A trimmed entry with an unknown start has another known day.
                if expected.is_some() {
                    prop_assert_eq!(held(&case.after), expected, "{}", day);
                }
            }
        }
    }

    #[test]
    fn no_value_holds_after_end(history in histories()) {
        for case in history.cases() {
            let (Command::End(command), Ok(_)) = (&case.command, &case.decision) else {
                continue;
            };
            let end = command.ended_on.unwrap_or(case.before.today);
            for day in days(case.before.today) {
                let expected = value_on(&case.before, day).filter(|_| day < end);
                prop_assert_eq!(value_on(&case.after, day), expected, "{}", day);
            }
        }
    }

    #[test]
    fn corrected_entry_equals_command(history in histories()) {
        for case in history.cases() {
            let (Command::Correct(command), Ok(_)) = (&case.command, &case.decision) else {
                continue;
            };
            let before = case.before.entry(command.id).unwrap();
            let after = case.after.entry(command.id).unwrap();
            prop_assert_eq!(&after.value, command.value.as_ref().unwrap_or(&before.value));
            prop_assert_eq!(after.period, command.period.unwrap_or(before.period));
            for other in case.after.entries().iter().filter(|other| other.id != command.id) {
                prop_assert_eq!(&other.value, &case.before.entry(other.id).unwrap().value);
            }
        }
    }

    #[test]
    fn removal_changes_only_days_of_removed_entry(history in histories()) {
        for case in history.cases() {
            let id = match (&case.command, &case.decision) {
                (Command::Cancel(command), Ok(_)) => command.id,
                (Command::Rescind(command), Ok(_)) => command.id,
                _ => continue,
            };
            let gone = case.before.entry(id).unwrap().period;
            prop_assert!(case.after.entry(id).is_err());
            // On timelines with gaps, an unknown start claims no earlier day: an entry with
            // restored days, which may be more than it had lost, takes precedence.
            let claims = |entry: &&Entry, day| {
                let is_known = entry.period.from.is_some() || entry.timeline.is_contiguous();
                is_known && entry.period.contains(day)
            };
            for day in days(case.before.today).filter(|day| !gone.contains(*day)) {
                let kept = case.before.entries().iter().find(|one| claims(one, day));
                // A name whose start followed the dates of the removed name gets its own
                // start back.
                let followed = |kept: &&Entry| {
                    let now = case.after.entry(kept.id).unwrap();
                    kept.timeline.is_contiguous()
                        && kept.cuts.iter().any(|cut| cut.by == id)
                        && Some(day) < now.period.from
                };
                if let Some(kept) = kept.filter(|kept| !followed(kept)) {
                    prop_assert_eq!(value_on(&case.after, day), Some(&kept.value));
                }
            }
        }
    }
}
