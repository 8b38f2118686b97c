//! Rescinds an entry that was never true.

use concord_proto::pb::records::EntryStatus;
use uuid::Uuid;

use super::{Decision, Entry, EventKind, Outcome, Timeline, TimelineError, entry::Side};

/// Rescinds an entry: neither its value nor its dates were ever true.
///
/// The service checks the etag of the entry, the role (owner or admin) and the required
/// reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RescindEntry {
    pub(crate) id: Uuid,
}

impl Timeline {
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
}
