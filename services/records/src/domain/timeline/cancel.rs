//! A scheduled entry that will not begin.

use shared::pb::records::EntryStatus;
use uuid::Uuid;

use super::{Decision, EntryEvent, EventKind, Outcome, Refusal, Timeline};

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
        if self.is_first_name(entry) {
            return Err(Refusal::OnlyName(entry.id));
        }
        let after = self.without(entry);
        let events = self.removed(EventKind::Cancelled, entry.id, &after);
        Ok(self.decided(Outcome::Cancelled, entry.id, &after, events))
    }

    /// The events of a removal: the first entry that has other dates now goes with
    /// it, each further one has an event of its own.
    pub(super) fn removed(&self, kind: EventKind, id: Uuid, after: &Self) -> Vec<EntryEvent> {
        let mut moved = self.moved(after);
        let removed = EntryEvent::new(kind, id).with(moved.next());
        let dates = moved.map(|id| EntryEvent::new(EventKind::DatesChanged, id));
        [removed].into_iter().chain(dates).collect()
    }
}
