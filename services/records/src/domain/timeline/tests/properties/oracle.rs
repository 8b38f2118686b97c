//! Day by day: what held before, and what should hold after.

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
    fn a_new_value_holds_from_its_day_up_to_what_is_scheduled(history in histories()) {
        for moment in history.moments() {
            let (Command::Add(command), Ok(decision)) = (&moment.command, &moment.decision) else {
                continue;
            };
            if decision.outcome == Outcome::NoChange {
                continue;
            }
            let before = &moment.before;
            let from = command.effective_on.unwrap_or(before.today);
            let next = before.scheduled().and_then(|entry| entry.period.from);
            for day in days(before.today) {
                let new = from <= day && next.is_none_or(|next| day < next);
                let expected = if new { Some(&command.value) } else { value_on(before, day) };
                prop_assert_eq!(value_on(&moment.after, day), expected, "{}", day);
            }
        }
    }

    #[test]
    fn a_past_name_holds_in_its_period_and_all_else_as_before(history in histories()) {
        for moment in history.moments() {
            let (Command::AddPast(command), Ok(_)) = (&moment.command, &moment.decision) else {
                continue;
            };
            if !moment.before.key.is_contiguous() {
                continue;
            }
            let to = command.period.to.unwrap();
            for day in days(moment.before.today) {
                let entry = moment.before.entries().iter().find(|e| e.period.contains(day));
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
                prop_assert_eq!(value_on(&moment.after, day), expected, "{}", day);
            }
        }
    }

    #[test]
    fn a_past_address_holds_on_its_known_days_and_leaves_those_of_others(history in histories()) {
        for moment in history.moments() {
            let (Command::AddPast(command), Ok(_)) = (&moment.command, &moment.decision) else {
                continue;
            };
            if moment.before.key.is_contiguous() {
                continue;
            }
            for day in days(moment.before.today) {
                let known = |entry: &&Entry| entry.period.known().contains(day);
                let held = |timeline: &Timeline| {
                    timeline.entries().iter().find(known).map(|entry| entry.value.clone())
                };
                let expected = if command.period.known().contains(day) {
                    Some(command.value.clone())
                } else {
                    held(&moment.before).filter(|_| !command.period.contains(day))
                };
                // An entry with an unknown start whose end is trimmed has another known day.
                if expected.is_some() {
                    prop_assert_eq!(held(&moment.after), expected, "{}", day);
                }
            }
        }
    }

    #[test]
    fn after_the_end_nothing_holds(history in histories()) {
        for moment in history.moments() {
            let (Command::End(command), Ok(_)) = (&moment.command, &moment.decision) else {
                continue;
            };
            let end = command.ended_on.unwrap_or(moment.before.today);
            for day in days(moment.before.today) {
                let expected = value_on(&moment.before, day).filter(|_| day < end);
                prop_assert_eq!(value_on(&moment.after, day), expected, "{}", day);
            }
        }
    }

    #[test]
    fn a_corrected_entry_says_what_the_command_says(history in histories()) {
        for moment in history.moments() {
            let (Command::Correct(command), Ok(_)) = (&moment.command, &moment.decision) else {
                continue;
            };
            let before = moment.before.entry(command.id).unwrap();
            let after = moment.after.entry(command.id).unwrap();
            prop_assert_eq!(&after.value, command.value.as_ref().unwrap_or(&before.value));
            prop_assert_eq!(after.period, command.period.unwrap_or(before.period));
            for other in moment.after.entries().iter().filter(|other| other.id != command.id) {
                prop_assert_eq!(&other.value, &moment.before.entry(other.id).unwrap().value);
            }
        }
    }

    #[test]
    fn what_is_removed_gives_its_days_to_a_neighbour_or_to_none(history in histories()) {
        for moment in history.moments() {
            let id = match (&moment.command, &moment.decision) {
                (Command::Cancel(command), Ok(_)) => command.id,
                (Command::Rescind(command), Ok(_)) => command.id,
                _ => continue,
            };
            let gone = moment.before.entry(id).unwrap().period;
            prop_assert!(moment.after.entry(id).is_err());
            // Where gaps may be, an unknown start claims no earlier day: an entry that has
            // its days again, which may be more than it had lost, takes precedence.
            let claims = |entry: &&Entry, day| {
                let is_known = entry.period.from.is_some() || entry.timeline.is_contiguous();
                is_known && entry.period.contains(day)
            };
            for day in days(moment.before.today).filter(|day| !gone.contains(*day)) {
                let kept = moment.before.entries().iter().find(|one| claims(one, day));
                // A name whose start had followed the dates of the one that is gone has
                // its own start again.
                let followed = |kept: &&Entry| {
                    let now = moment.after.entry(kept.id).unwrap();
                    kept.timeline.is_contiguous()
                        && kept.cuts.iter().any(|cut| cut.by == id)
                        && Some(day) < now.period.from
                };
                if let Some(kept) = kept.filter(|kept| !followed(kept)) {
                    prop_assert_eq!(value_on(&moment.after, day), Some(&kept.value));
                }
            }
        }
    }
}
