//! The order in which edits are written.
//!
//! PostgreSQL checks the exclusion constraint at every statement. When a boundary moves,
//! the entry that loses days is written before the one that gets them. A command only
//! moves boundaries between neighbours, so such an order always exists.

use super::{Edit, Entry};

/// `edits` in an order in which no two entries overlap after any of them.
pub(super) fn without_overlaps(entries: &[Entry], edits: Vec<Edit>) -> Vec<Edit> {
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
