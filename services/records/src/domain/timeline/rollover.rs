//! The rollover to a new day: scheduled entries begin, and known ends are reached.

use super::{
    Decision, Edit, Entry, EntryEvent, EventKind, Outcome, Timeline, entry::next_status_change,
};

impl Timeline {
    /// The status changes since the timeline was last written, each once, in the order of
    /// the days.
    pub(super) fn rollover(&self) -> Decision {
        let due = |entry: &&Entry| entry.status_changes_on.is_some_and(|day| day <= self.today);
        let due: Vec<&Entry> = self.entries.iter().filter(due).collect();
        let outcome = if due.is_empty() { Outcome::NoChange } else { Outcome::Rollover };
        let edits = due.iter().map(|entry| self.rolled_over(entry)).collect();
        let events = due.iter().flat_map(|entry| self.rollover_events(entry)).collect();
        Decision { edits, outcome, entry: None, events }
    }

    /// The edit that sets the next status change of `entry`.
    fn rolled_over(&self, entry: &Entry) -> Edit {
        let status_changes_on = next_status_change(entry.period, self.today);
        Edit::dates(&Entry { status_changes_on, ..entry.clone() })
    }

    fn rollover_events(&self, entry: &Entry) -> impl Iterator<Item = EntryEvent> + use<> {
        let began = (entry.status_changes_on == entry.period.from).then(|| {
            let closed = self.touching_before(entry).map(|before| before.id);
            EntryEvent::new(EventKind::BecameCurrent, entry.id).with(closed)
        });
        // An entry that is followed by another has no `Ended` event: the event of the next
        // one includes it. The table has no row for an end that was known in advance, which
        // an import may set. When it is reached, it is an end as any other.
        let over = entry.period.to.is_some_and(|to| to <= self.today);
        let ended = (over && self.touching_after(entry).is_none())
            .then(|| EntryEvent::new(EventKind::Ended, entry.id));
        began.into_iter().chain(ended)
    }
}
