//! An entry that was never true.

use chrono::NaiveDate;
use shared::{pb::records::EntryStatus, rules::date::Period};
use uuid::Uuid;

use super::{Decision, Edit, Entry, EntryEvent, EventKind, Outcome, Refusal, Timeline};

/// The entry never was true, neither value nor dates.
///
/// The etag that the service checks is that of the entry; it also sees to the
/// role (owner or admin) and the reason that must be given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RescindEntry {
    pub(crate) id: Uuid,
}

impl Timeline {
    /// Removes an entry. The one that it closed takes its days; without one the
    /// next name does.
    ///
    /// A scheduled entry can be rescinded like any other, as the table has it;
    /// the one before it then holds on, as when it is cancelled.
    pub(crate) fn rescind(&self, command: RescindEntry) -> Result<Decision, Refusal> {
        let entry = self.entry(command.id)?;
        let heir = match self.touching_before(entry) {
            Some(before) => self.take_end(before, entry),
            None if self.key.is_contiguous() => Some(self.take_start(entry)?),
            None => None,
        };
        let (neighbour, taken) = heir.unzip();
        let edits = [Edit::Remove(entry.id)].into_iter().chain(taken).collect();
        let events = vec![EntryEvent::new(EventKind::Rescinded, entry.id).with(neighbour)];
        Ok(self.decided(Outcome::Rescinded, entry.id, edits, events))
    }

    /// The one that `entry` closed takes its end, unless its own end is earlier:
    /// it may have ended on that very day by itself.
    fn take_end(&self, before: &Entry, entry: &Entry) -> Option<(Uuid, Edit)> {
        let to = earlier(before.own_to, entry.period.to);
        let own_to = earlier(before.own_to, entry.own_to);
        let period = Period { to, ..before.period };
        let taken = (before.id, self.set_dates(before, period, own_to));
        (period != before.period).then_some(taken)
    }

    /// A first name's successor takes its start. A scheduled one does not: what
    /// begins on a later day cannot have been the name all along.
    fn take_start(&self, entry: &Entry) -> Result<(Uuid, Edit), Refusal> {
        let begun = |after: &&Entry| self.status(after) != EntryStatus::Scheduled;
        let after = self.touching_after(entry).filter(begun).ok_or(Refusal::OnlyName(entry.id))?;
        let period = Period { from: entry.period.from, ..after.period };
        Ok((after.id, self.set_dates(after, period, after.own_to)))
    }
}

/// The earlier of two ends, either of which may not be there.
fn earlier(one: Option<NaiveDate>, other: Option<NaiveDate>) -> Option<NaiveDate> {
    [one, other].into_iter().flatten().min()
}
