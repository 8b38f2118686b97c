//! The edits that turn one timeline into another, and their order.

use uuid::Uuid;

use super::{
    decision::{Decision, Edit, EntryEvent, Outcome},
    entry::Entry,
    state::Timeline,
};

impl Timeline {
    /// The decision that turns this timeline into `after`. Its edits are in an order that
    /// never violates the exclusion constraint.
    pub(super) fn decided(
        &self,
        outcome: Outcome,
        entry: Uuid,
        after: &Self,
        events: Vec<EntryEvent>,
    ) -> Decision {
        let edits = without_overlaps(&self.entries, self.edits_to(after));
        Decision { edits, outcome, entry: Some(entry), events }
    }

    fn edits_to(&self, after: &Self) -> Vec<Edit> {
        let removed = self.entries.iter().filter(|entry| after.entry(entry.id).is_err());
        let mut edits: Vec<Edit> = removed.map(|entry| Edit::Remove(entry.id)).collect();
        for entry in &after.entries {
            let Ok(before) = self.entry(entry.id) else {
                edits.push(Edit::Insert(entry.clone()));
                continue;
            };
            let dates = Edit::dates(entry);
            if dates != Edit::dates(before) {
                edits.push(dates);
            }
            if entry.value != before.value {
                edits.push(Edit::SetValue { id: entry.id, value: entry.value.clone() });
            }
        }
        edits
    }
}

/// `edits` in an order in which no two entries overlap after any of them.
///
/// PostgreSQL checks the exclusion constraint at every statement. When a boundary moves,
/// the entry that becomes shorter is written before the one that becomes longer. A command
/// only moves boundaries between neighbours, so such an order always exists.
fn without_overlaps(entries: &[Entry], edits: Vec<Edit>) -> Vec<Edit> {
    let mut entries = entries.to_vec();
    let mut waiting = edits;
    let mut ordered = Vec::with_capacity(waiting.len());
    while let Some(next) = waiting.iter().position(|edit| fits(edit, &entries)) {
        let edit = waiting.remove(next);
        edit.write_to(&mut entries);
        ordered.push(edit);
    }
    ordered.extend(waiting);
    ordered
}

fn fits(edit: &Edit, entries: &[Entry]) -> bool {
    let (id, period) = match edit {
        Edit::Insert(entry) => (entry.id, entry.period),
        Edit::SetDates { id, period, .. } => (*id, *period),
        Edit::SetValue { .. } | Edit::Remove(_) => return true,
    };
    entries.iter().all(|other| other.id == id || !other.collides(period))
}
