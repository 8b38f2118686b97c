//! The end of what a timeline says: nothing follows.

use chrono::NaiveDate;
use uuid::Uuid;

use super::{Decision, EntryEvent, EventKind, Outcome, Refusal, Timeline};

/// The current entry holds no longer, and no other does.
///
/// The etag that the service checks is that of the entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndEntry {
    pub(crate) id: Uuid,
    /// The first day that it held no longer; today when the caller names none.
    pub(crate) ended_on: Option<NaiveDate>,
}

impl Timeline {
    /// Ends the current entry of a timeline that may have gaps.
    pub(crate) fn end(&self, command: EndEntry) -> Result<Decision, Refusal> {
        let entry = self.entry(command.id)?;
        let day = command.ended_on.unwrap_or(self.today);
        if self.key.is_contiguous() {
            return Err(Refusal::NameCannotEnd);
        }
        // Also when it is the one that is named: it is cancelled, not ended.
        if let Some(scheduled) = self.scheduled() {
            return Err(Refusal::ScheduledExists(scheduled.id));
        }
        if self.current() != Some(entry) {
            return Err(Refusal::NotCurrent(entry.id));
        }
        if self.today < day {
            return Err(Refusal::EndInFuture(day));
        }
        if !self.begins_before(entry, day) {
            return Err(Refusal::EndsBeforeStart(entry.id));
        }
        let mut after = self.clone();
        if let Some(entry) = after.find_mut(entry.id) {
            entry.own.to = Some(day);
        }
        after.settle();
        let events = vec![EntryEvent::new(EventKind::Ended, entry.id)];
        Ok(self.decided(Outcome::Ended, entry.id, &after, events))
    }
}
