//! What becomes of a timeline when an entry of it never was.

use chrono::NaiveDate;
use uuid::Uuid;

use super::{Entry, Timeline, entry::Side};

impl Timeline {
    /// The timeline without `gone`: the entries that it has cut have their own
    /// dates again, as far as no other entry holds those days.
    pub(super) fn without(&self, gone: &Entry) -> Self {
        let mut after = self.clone();
        after.entries.retain(|entry| entry.id != gone.id);
        for n in 0..after.entries.len() {
            let (before, rest) = after.entries.split_at_mut(n);
            if let Some(entry) = rest.first_mut() {
                take_start_back(entry, before, gone.id);
            }
        }
        if !self.key.is_contiguous() {
            for n in 0..after.entries.len() {
                let (before, later) = after.entries.split_at_mut(n + 1);
                if let Some(entry) = before.last_mut() {
                    take_end_back(entry, later, gone.id);
                }
            }
        }
        after.settle();
        after
    }
}

fn take_start_back(entry: &mut Entry, before: &[Entry], gone: Uuid) {
    if !entry.is_cut(Side::Start, gone) {
        return;
    }
    entry.uncut(Side::Start, gone);
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
        Some((end, by)) if entry.left().from < Some(end) => entry.cut(Side::Start, by, end),
        _ => {}
    }
    entry.period.from = entry.left().from;
}

fn take_end_back(entry: &mut Entry, later: &[Entry], gone: Uuid) {
    if !entry.is_cut(Side::End, gone) {
        return;
    }
    entry.uncut(Side::End, gone);
    let first = |other: &Entry| other.period.known().from.map(|from| (from, other.id));
    let next: Option<(NaiveDate, Uuid)> = later.iter().filter_map(first).min();
    match next {
        // Beside an entry with an unknown start that holds, it keeps an end.
        Some((NaiveDate::MAX, by)) if entry.left().to.is_none() => {
            if let Some(end) = entry.period.to {
                entry.cut(Side::End, by, end);
            }
        }
        Some((start, by)) if entry.left().to.is_none_or(|to| start < to) => {
            entry.cut(Side::End, by, start);
        }
        _ => {}
    }
}
