//! Cancels a scheduled entry.

use concord_proto::pb::records::EntryStatus;
use uuid::Uuid;

use super::{Decision, EntryEvent, EventKind, Outcome, Timeline, TimelineError};

/// Cancels a scheduled entry: the planned change will not happen.
///
/// The etag that the service checks is that of the entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CancelScheduledEntry {
    pub(crate) id: Uuid,
}

impl Timeline {
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

    /// The events of a removal. The first entry with changed dates is the neighbour of the
    /// removal; each further one has an event.
    pub(super) fn removed(&self, kind: EventKind, id: Uuid, after: &Self) -> Vec<EntryEvent> {
        let mut moved = self.moved(after);
        let removed = EntryEvent::new(kind, id).with(moved.next());
        let dates = moved.map(|id| EntryEvent::new(EventKind::DatesChanged, id));
        [removed].into_iter().chain(dates).collect()
    }
}
