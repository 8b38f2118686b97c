//! An entry that was never true.

use shared::pb::records::EntryStatus;
use uuid::Uuid;

use super::{Decision, Entry, EventKind, Outcome, Refusal, Timeline, entry::Side};

/// The entry never was true, neither value nor dates.
///
/// The etag that the service checks is that of the entry; it also sees to the
/// role (owner or admin) and the reason that must be given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RescindEntry {
    pub(crate) id: Uuid,
}

impl Timeline {
    /// Removes an entry. Those whose days it took have their own dates again, as
    /// they had before it was added; of names the one before takes its days, and
    /// without one the next.
    ///
    /// A scheduled entry can be rescinded like any other, as the table has it;
    /// the one before it then holds on, as when it is cancelled.
    pub(crate) fn rescind(&self, command: RescindEntry) -> Result<Decision, Refusal> {
        let entry = self.entry(command.id)?;
        let mut after = self.without(entry);
        if self.is_first_name(entry) {
            self.leave_start(entry, &mut after)?;
        }
        let events = self.removed(EventKind::Rescinded, entry.id, &after);
        Ok(self.decided(Outcome::Rescinded, entry.id, &after, events))
    }

    /// A first name's successor takes its start, unless the first one was added as a
    /// past name: then the successor was the first before, and begins as it did. A
    /// scheduled one does not: what begins on a later day cannot have been the name
    /// all along.
    fn leave_start(&self, first: &Entry, after: &mut Self) -> Result<(), Refusal> {
        let begun = |next: &&Entry| self.status(next) != EntryStatus::Scheduled;
        let next = self.touching_after(first).filter(begun).ok_or(Refusal::OnlyName(first.id))?;
        let Some(next) = after.find_mut(next.id).filter(|_| first.own.to.is_none()) else {
            return Ok(());
        };
        next.uncut_all(Side::Start);
        next.own.from = first.period.from;
        // It is no past name any more: it begins with the first one's days.
        next.own.to = None;
        after.settle();
        Ok(())
    }
}
