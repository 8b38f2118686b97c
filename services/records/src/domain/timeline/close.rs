//! The commands that close an entry or remove it: end, cancel, rescind.

use chrono::NaiveDate;
use concord_proto::pb::records::EntryStatus;
use uuid::Uuid;

use super::{
    decision::{Decision, EntryEvent, EventKind, Outcome},
    entry::{Entry, Side},
    error::TimelineError,
    state::Timeline,
};

/// Ends the current entry. No other entry follows.
///
/// The etag that the service checks is that of the entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndEntry {
    pub(crate) id: Uuid,
    /// The first day on which it does not hold; today by default.
    pub(crate) ended_on: Option<NaiveDate>,
}

/// Cancels a scheduled entry: the planned change will not happen.
///
/// The etag that the service checks is that of the entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CancelScheduledEntry {
    pub(crate) id: Uuid,
}

/// Rescinds an entry: neither its value nor its dates were ever true.
///
/// The service checks the etag of the entry, the role (owner or admin) and the required
/// reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RescindEntry {
    pub(crate) id: Uuid,
}

impl Timeline {
    /// Ends the current entry of a timeline that may have gaps.
    pub(crate) fn end(&self, command: EndEntry) -> Result<Decision, TimelineError> {
        let entry = self.entry(command.id)?;
        let day = command.ended_on.unwrap_or(self.today);
        if self.key.is_contiguous() {
            return Err(TimelineError::NameCannotEnd);
        }
        // Also if the command is about the scheduled entry, which must be cancelled.
        if let Some(scheduled) = self.scheduled() {
            return Err(TimelineError::ScheduledExists(scheduled.id));
        }
        if self.current() != Some(entry) {
            return Err(TimelineError::NotCurrent(entry.id));
        }
        if self.today < day {
            return Err(TimelineError::EndInFuture(day));
        }
        if !self.begins_before(entry, day) {
            return Err(TimelineError::EndsBeforeStart(entry.id));
        }
        let mut after = self.clone();
        if let Some(entry) = after.find_mut(entry.id) {
            entry.declared.to = Some(day);
        }
        after.recompute_periods();
        let events = vec![EntryEvent::new(EventKind::Ended, entry.id)];
        Ok(self.decided(Outcome::Ended, entry.id, &after, events))
    }

    /// Removes a scheduled entry. The entry that it would have ended holds until its
    /// declared end. Corrections of that entry are kept: only its end changes.
    pub(crate) fn cancel(&self, command: CancelScheduledEntry) -> Result<Decision, TimelineError> {
        let entry = self.entry(command.id)?;
        if self.status(entry) != EntryStatus::Scheduled {
            return Err(TimelineError::NotScheduled(entry.id));
        }
        if self.is_first_name(entry) {
            return Err(TimelineError::OnlyName(entry.id));
        }
        let after = self.without(entry);
        let events = self.removed(EventKind::Cancelled, entry.id, &after);
        Ok(self.decided(Outcome::Cancelled, entry.id, &after, events))
    }

    /// Removes an entry. The entries that it has cut get their declared dates back, as
    /// before it was added. The days of a name go to the previous name, or else to the next.
    ///
    /// A scheduled entry can be rescinded too, as in the table. The previous entry then
    /// continues to hold, as after a cancellation.
    pub(crate) fn rescind(&self, command: RescindEntry) -> Result<Decision, TimelineError> {
        let entry = self.entry(command.id)?;
        let mut after = self.without(entry);
        if self.is_first_name(entry) {
            self.pass_start_to_next(entry, &mut after)?;
        }
        let events = self.removed(EventKind::Rescinded, entry.id, &after);
        Ok(self.decided(Outcome::Rescinded, entry.id, &after, events))
    }

    /// The next name gets the start of a removed first name. Exceptions: if the first name
    /// was added as a past name, the next one was the first before, and gets its former
    /// start back. A scheduled name cannot get it: it was not the name before.
    fn pass_start_to_next(&self, first: &Entry, after: &mut Self) -> Result<(), TimelineError> {
        let begun = |next: &&Entry| self.status(next) != EntryStatus::Scheduled;
        let next =
            self.touching_after(first).filter(begun).ok_or(TimelineError::OnlyName(first.id))?;
        let Some(next) = after.find_mut(next.id).filter(|_| first.declared.to.is_none()) else {
            return Ok(());
        };
        next.remove_cuts(Side::Start);
        next.declared.from = first.period.from;
        // It does not count as added as a past name any more.
        next.declared.to = None;
        after.recompute_periods();
        Ok(())
    }

    /// The timeline without `removed`. The entries that it has cut get their declared dates
    /// back, except for days of other entries.
    fn without(&self, removed: &Entry) -> Self {
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

    /// The events of a removal. The first entry with changed dates is the neighbour of the
    /// removal; each further one has an event.
    fn removed(&self, kind: EventKind, id: Uuid, after: &Self) -> Vec<EntryEvent> {
        let mut moved = self.moved(after);
        let removed = EntryEvent::new(kind, id).with(moved.next());
        let dates = moved.map(|id| EntryEvent::new(EventKind::DatesChanged, id));
        [removed].into_iter().chain(dates).collect()
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
