//! What midnight changes: scheduled entries begin, and known ends are reached.

use super::{Decision, Edit, Entry, EntryEvent, EventKind, Outcome, Timeline, entry::next_turn};

impl Timeline {
    /// What has changed since the timeline was last written, told once: in the
    /// order of the days, however many nights ago they were.
    pub(super) fn midnight(&self) -> Decision {
        let due = |entry: &&Entry| entry.turns_on.is_some_and(|day| day <= self.today);
        let due: Vec<&Entry> = self.entries.iter().filter(due).collect();
        let outcome = if due.is_empty() { Outcome::NoChange } else { Outcome::Turned };
        let edits = due.iter().map(|entry| self.turn(entry)).collect();
        let events = due.iter().flat_map(|entry| self.turned(entry)).collect();
        Decision { edits, outcome, entry: None, events }
    }

    /// Moves on to the next midnight that concerns `entry`.
    fn turn(&self, entry: &Entry) -> Edit {
        let turns_on = next_turn(entry.period, self.today);
        Edit::dates(&Entry { turns_on, ..entry.clone() })
    }

    fn turned(&self, entry: &Entry) -> impl Iterator<Item = EntryEvent> + use<> {
        let began = (entry.turns_on == entry.period.from).then(|| {
            let closed = self.touching_before(entry).map(|before| before.id);
            EntryEvent::new(EventKind::BecameCurrent, entry.id).with(closed)
        });
        // An entry that hands over has no event: the next one's tells it. The
        // table has no row for an end that was known in advance, which an import
        // may bring; when it is reached, that is an end like any other.
        let over = entry.period.to.is_some_and(|to| to <= self.today);
        let ended = (over && self.touching_after(entry).is_none())
            .then(|| EntryEvent::new(EventKind::Ended, entry.id));
        began.into_iter().chain(ended)
    }
}
