//! Timelines: what becomes of their entries when the world changes, and when a
//! mistake is put right.
//!
//! A decider: a timeline as it is on a day, and a command, make a [`Decision`]
//! or a [`Refusal`]. The rules are those of the table in `docs/history.md`.
//! There is no clock, no database and no making of ids in here; etags, roles and
//! links are checked by the service before.

mod add;
mod apply;
mod cancel;
mod correct;
mod decision;
mod end;
mod entry;
mod key;
mod midnight;
mod order;
mod past;
mod place;
mod refusal;
mod rescind;

use chrono::{Days, NaiveDate};
use shared::{
    pb::records::EntryStatus,
    rules::{date::Period, value::Value},
};
use uuid::Uuid;

#[cfg(test)]
use shared::pb::records::ErrorReason;

pub(crate) use self::{
    add::AddEntry,
    cancel::CancelScheduledEntry,
    correct::CorrectEntry,
    decision::{Decision, Edit, EntryEvent, EventKind, Outcome},
    end::EndEntry,
    entry::Entry,
    key::TimelineKey,
    past::AddPastEntry,
    place::{Placement, close_at_next, place},
    refusal::Refusal,
    rescind::RescindEntry,
};

/// The farthest that an entry may begin in the future, in days.
pub(crate) const MAX_DAYS_AHEAD: u64 = 366;

/// Entries of one record at most, over all its timelines: with the longest
/// addresses, its image still fits one message.
pub(crate) const MAX_ENTRIES: usize = 300;

/// Whether an entry may not begin on `day` yet.
fn is_too_far(day: NaiveDate, today: NaiveDate) -> bool {
    today.checked_add_days(Days::new(MAX_DAYS_AHEAD)).is_some_and(|last| last < day)
}

/// One timeline of one record, as it is on one day after that day's midnight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    owner: Uuid,
    key: TimelineKey,
    /// From the earliest to the latest.
    entries: Vec<Entry>,
    today: NaiveDate,
}

impl Timeline {
    /// The timeline of `entries` on the day `today`, with what midnight has
    /// changed since the last write: nothing, most of the time.
    ///
    /// That decision is written first, as a change of its own whose origin is
    /// no product: what a command decides stands on it. There is no other way to
    /// make a timeline, so that no command can step over a midnight. Entries of
    /// other owners and timelines are left out.
    pub(crate) fn on(
        today: NaiveDate,
        owner: Uuid,
        key: TimelineKey,
        entries: impl IntoIterator<Item = Entry>,
    ) -> (Self, Decision) {
        let own = |entry: &Entry| entry.owner == owner && entry.timeline == key;
        let entries = entries.into_iter().filter(own).collect();
        let mut loaded = Self { owner, key, entries, today };
        loaded.sort();
        let midnight = loaded.midnight();
        (loaded.apply(&midnight), midnight)
    }

    /// The entries, from the earliest to the latest.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry that holds today.
    pub(crate) fn current(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| self.status(entry) == EntryStatus::Current)
    }

    /// The entry that begins on a later day.
    pub(crate) fn scheduled(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| self.status(entry) == EntryStatus::Scheduled)
    }

    /// The entry with this id.
    pub(crate) fn entry(&self, id: Uuid) -> Result<&Entry, Refusal> {
        self.entries.iter().find(|entry| entry.id == id).ok_or(Refusal::UnknownEntry(id))
    }

    fn status(&self, entry: &Entry) -> EntryStatus {
        entry.period.status(self.today)
    }

    /// The entry that ends on the day on which `entry` begins.
    fn touching_before(&self, entry: &Entry) -> Option<&Entry> {
        self.entries.iter().find(|other| other.touches(entry))
    }

    /// The entry that begins on the day on which `entry` ends.
    fn touching_after(&self, entry: &Entry) -> Option<&Entry> {
        self.entries.iter().find(|other| entry.touches(other))
    }

    /// Whether no name comes before `entry`: it cannot be cancelled then.
    fn is_first_name(&self, entry: &Entry) -> bool {
        self.key.is_contiguous() && self.touching_before(entry).is_none()
    }

    fn ids_overlapping(&self, period: Period) -> Vec<Uuid> {
        let overlapping = self.entries.iter().filter(|entry| entry.period.overlaps(&period));
        overlapping.map(|entry| entry.id).collect()
    }

    /// A new entry of this timeline; its end, when it has one, is its own.
    fn new_entry(&self, id: Uuid, value: Value, period: Period) -> Entry {
        Entry::new(id, self.owner, self.key, value, period, self.today)
    }

    /// The edit that gives `entry` these dates.
    fn set_dates(&self, entry: &Entry, period: Period, own_to: Option<NaiveDate>) -> Edit {
        let turns_on = entry::next_turn(period, self.today);
        Edit::SetDates { id: entry.id, period, own_to, turns_on }
    }

    /// The edit that ends `entry` where the next one begins: its own end, when
    /// it has one, stays known.
    fn close(&self, entry: &Entry, at: NaiveDate) -> Edit {
        self.set_dates(entry, Period { to: Some(at), ..entry.period }, entry.own_to)
    }

    /// Refuses a value that this timeline cannot hold.
    fn check_value(&self, value: &Value) -> Result<(), Refusal> {
        if !self.key.takes(value) {
            Err(Refusal::WrongValue)
        } else if value.display().is_empty() {
            Err(Refusal::ValueBlank)
        } else {
            Ok(())
        }
    }

    /// A decision with its edits in an order that the database can follow.
    fn decided(
        &self,
        outcome: Outcome,
        entry: Uuid,
        edits: Vec<Edit>,
        events: Vec<EntryEvent>,
    ) -> Decision {
        let edits = order::without_overlaps(&self.entries, edits);
        Decision { edits, outcome, entry: Some(entry), events }
    }

    /// An unknown start is the earliest.
    fn sort(&mut self) {
        self.entries.sort_by_key(|entry| (entry.period.from, entry.id));
    }
}

#[cfg(test)]
mod tests;
