//! Removes an entry from a timeline.

use chrono::NaiveDate;
use uuid::Uuid;

use super::{Entry, Timeline, entry::Side};

impl Timeline {
    /// The timeline without `removed`. The entries that it has cut get their declared dates
    /// back, except for days of other entries.
    pub(super) fn without(&self, removed: &Entry) -> Self {
        let mut after = self.clone();
        after.entries.retain(|entry| entry.id != removed.id);
        for n in 0..after.entries.len() {
            let (before, rest) = after.entries.split_at_mut(n);
            if let Some(entry) = rest.first_mut() {
                restore_start(entry, before, removed.id);
            }
        }
        if !self.key.is_contiguous() {
            for n in 0..after.entries.len() {
                let (before, later) = after.entries.split_at_mut(n + 1);
                if let Some(entry) = before.last_mut() {
                    restore_end(entry, later, removed.id);
                }
            }
        }
        after.recompute_periods();
        after
    }
}

fn restore_start(entry: &mut Entry, before: &[Entry], removed: Uuid) {
    if !entry.is_cut(Side::Start, removed) {
        return;
    }
    entry.remove_cut(Side::Start, removed);
    if entry.timeline.is_contiguous() {
        let previous = before.last();
        let from = entry.start_after(previous.map(|previous| previous.id));
        if let Some(previous) = previous.filter(|previous| from <= previous.period.from)
            && let Some(end) = previous.period.to
        {
            entry.cut(Side::Start, previous.id, end);
        }
        entry.period.from = entry.start_after(previous.map(|previous| previous.id));
        return;
    }
    let last = before.iter().filter_map(|other| other.period.to.map(|to| (to, other.id))).max();
    match last {
        Some((end, by)) if entry.trimmed_period().from < Some(end) => {
            entry.cut(Side::Start, by, end);
        }
        _ => {}
    }
    entry.period.from = entry.trimmed_period().from;
}

fn restore_end(entry: &mut Entry, later: &[Entry], removed: Uuid) {
    if !entry.is_cut(Side::End, removed) {
        return;
    }
    entry.remove_cut(Side::End, removed);
    let first = |other: &Entry| other.period.known().from.map(|from| (from, other.id));
    let next: Option<(NaiveDate, Uuid)> = later.iter().filter_map(first).min();
    match next {
        // It keeps an end before a current entry with an unknown start.
        Some((NaiveDate::MAX, by)) if entry.trimmed_period().to.is_none() => {
            if let Some(end) = entry.period.to {
                entry.cut(Side::End, by, end);
            }
        }
        Some((start, by)) if entry.trimmed_period().to.is_none_or(|to| start < to) => {
            entry.cut(Side::End, by, start);
        }
        _ => {}
    }
}
