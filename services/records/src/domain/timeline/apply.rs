//! Applies decisions to timelines.

use super::{Decision, Edit, Entry, Timeline};

impl Timeline {
    /// The timeline after `decision`, as the database stores it after all edits. Edits of
    /// missing entries change nothing.
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
    /// Applies the edits to `entries`, which may contain other timelines too.
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
            Self::SetDates { id, period, declared, cuts, status_changes_on } => {
                for entry in entries.iter_mut().filter(|entry| entry.id == *id) {
                    (entry.period, entry.declared, entry.status_changes_on) =
                        (*period, *declared, *status_changes_on);
                    entry.cuts.clone_from(cuts);
                }
            }
        }
    }
}
