//! Ends the current entry without a successor.

use chrono::NaiveDate;
use uuid::Uuid;

use super::{Decision, EntryEvent, EventKind, Outcome, Timeline, TimelineError};

/// Ends the current entry. No other entry follows.
///
/// The etag that the service checks is that of the entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndEntry {
    pub(crate) id: Uuid,
    /// The first day on which it does not hold; today by default.
    pub(crate) ended_on: Option<NaiveDate>,
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
}
