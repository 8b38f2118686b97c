//! What a timeline becomes by a decision.

use super::{Decision, Edit, Entry, Timeline};

impl Timeline {
    /// The timeline after `decision`, as the database holds it when every edit
    /// has been written. Edits of entries that are not there change nothing.
    pub(crate) fn apply(&self, decision: &Decision) -> Self {
        let mut after = self.clone();
        for edit in &decision.edits {
            edit.write_to(&mut after.entries);
        }
        after.sort();
        after
    }
}

impl Decision {
    /// Makes its edits in `entries`, which may hold other timelines too.
    pub(crate) fn apply_to(&self, entries: &mut Vec<Entry>) {
        for edit in &self.edits {
            edit.write_to(entries);
        }
    }
}

impl Edit {
    pub(super) fn write_to(&self, entries: &mut Vec<Entry>) {
        match self {
            Self::Insert(entry) => entries.push(entry.clone()),
            Self::Remove(id) => entries.retain(|entry| entry.id != *id),
            Self::SetValue { id, value } => {
                for entry in entries.iter_mut().filter(|entry| entry.id == *id) {
                    entry.value = value.clone();
                }
            }
            Self::SetDates { id, period, own, cuts, turns_on } => {
                for entry in entries.iter_mut().filter(|entry| entry.id == *id) {
                    (entry.period, entry.own, entry.turns_on) = (*period, *own, *turns_on);
                    entry.cuts.clone_from(cuts);
                }
            }
        }
    }
}
