//! A scheduled entry that will not begin.

use shared::{pb::records::EntryStatus, rules::date::Period};
use uuid::Uuid;

use super::{Decision, Edit, EntryEvent, EventKind, Outcome, Refusal, Timeline};

/// What was planned will not happen.
///
/// The etag that the service checks is that of the entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CancelScheduledEntry {
    pub(crate) id: Uuid,
}

impl Timeline {
    /// Removes a scheduled entry; the one that it closed, or would have closed,
    /// holds on until its own end. Whatever was corrected of that one meanwhile
    /// stays: only its end is touched.
    pub(crate) fn cancel(&self, command: CancelScheduledEntry) -> Result<Decision, Refusal> {
        let entry = self.entry(command.id)?;
        if self.status(entry) != EntryStatus::Scheduled {
            return Err(Refusal::NotScheduled(entry.id));
        }
        let before = self.touching_before(entry);
        if self.is_first_name(entry) {
            return Err(Refusal::OnlyName(entry.id));
        }
        let reopened = before.filter(|before| before.own_to != before.period.to);
        let reopen = reopened.map(|before| {
            let period = Period { to: before.own_to, ..before.period };
            self.set_dates(before, period, before.own_to)
        });
        let edits = [Edit::Remove(entry.id)].into_iter().chain(reopen).collect();
        let neighbour = reopened.map(|before| before.id);
        let events = vec![EntryEvent::new(EventKind::Cancelled, entry.id).with(neighbour)];
        Ok(self.decided(Outcome::Cancelled, entry.id, edits, events))
    }
}
