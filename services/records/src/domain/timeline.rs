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
mod remove;
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
    correct::{CorrectEntry, Slip},
    decision::{Decision, Edit, EntryEvent, EventKind, Outcome},
    end::EndEntry,
    entry::{Cut, Entry, Side},
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

/// Whether two periods cannot be on one timeline that may have gaps. An unknown start
/// is not after today, so that the statuses of both follow from their dates.
fn collide(one: Period, other: Period, today: NaiveDate) -> bool {
    let begun = |period: Period| match period {
        Period { from: None, to } if to.is_none_or(|to| today < to) => {
            Period { from: Some(today), to }
        }
        other => other,
    };
    begun(one).collides(&begun(other))
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
        loaded.explain();
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

    /// The entry that held yesterday, as it is now.
    pub(crate) fn current_yesterday(&self) -> Option<&Entry> {
        let yesterday = self.today.pred_opt()?;
        let current = |entry: &&Entry| entry.period.status(yesterday) == EntryStatus::Current;
        self.entries.iter().rfind(current)
    }

    /// The entry that begins on a later day.
    pub(crate) fn scheduled(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| self.status(entry) == EntryStatus::Scheduled)
    }

    /// The entry with this id.
    pub(crate) fn entry(&self, id: Uuid) -> Result<&Entry, Refusal> {
        self.entries.iter().find(|entry| entry.id == id).ok_or(Refusal::UnknownEntry(id))
    }

    /// A past entry to which a decision gives other dates.
    pub(crate) fn past_that_moves(&self, decision: &Decision) -> Option<Uuid> {
        decision.edits.iter().find_map(|edit| match edit {
            Edit::SetDates { id, period, .. } => {
                let entry = self.entry(*id).ok()?;
                let moves = self.status(entry) == EntryStatus::Past && entry.period != *period;
                moves.then_some(*id)
            }
            _ => None,
        })
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

    /// The entries whose days an entry of `period` cannot have.
    fn ids_in_the_way(&self, period: Period) -> Vec<Uuid> {
        let in_the_way = self.entries.iter().filter(|entry| self.collide(entry, period));
        in_the_way.map(|entry| entry.id).collect()
    }

    /// Whether `entry` and another one of `period` cannot be on the timeline together.
    fn collide(&self, entry: &Entry, period: Period) -> bool {
        if self.key.is_contiguous() {
            entry.collides(period)
        } else {
            collide(entry.period, period, self.today)
        }
    }

    /// Refuses a timeline on which the entry `id` has left others no room, by hand
    /// of those.
    fn check_room(&self, id: Uuid) -> Result<(), Refusal> {
        let in_the_way = |n: usize, entry: &Entry| {
            entry.id != id
                && (self.entries.iter().enumerate())
                    .any(|(m, other)| m != n && self.collide(other, entry.period))
        };
        let found = self.entries.iter().enumerate().filter(|(n, entry)| in_the_way(*n, entry));
        let found: Vec<Uuid> = found.map(|(_, entry)| entry.id).collect();
        if found.is_empty() { Ok(()) } else { Err(Refusal::Overlap(found)) }
    }

    /// A new entry of this timeline; its dates are its own.
    fn new_entry(&self, id: Uuid, value: Value, period: Period) -> Entry {
        Entry::new(id, self.owner, self.key, value, period, self.today)
    }

    fn find_mut(&mut self, id: Uuid) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// Ends `entry` where the entry `by` begins. A name does so by itself.
    fn cut_end(&mut self, entry: Uuid, by: Uuid, at: NaiveDate) {
        let contiguous = self.key.is_contiguous();
        if let Some(entry) = self.find_mut(entry).filter(|_| !contiguous) {
            entry.cut(Side::End, by, at);
        }
    }

    /// Keeps the start of the name after the new name `added`, which another name
    /// has cut.
    fn keep_start_after(&mut self, added: Uuid) {
        if !self.key.is_contiguous() {
            return;
        }
        self.sort();
        let mut behind = self.entries.iter_mut().skip_while(|entry| entry.id != added);
        if let Some(next) = behind.nth(1)
            && !next.is_cut(Side::Start, added)
            && let Some(from) = next.period.from
            && next.start_after(Some(added)) != Some(from)
        {
            next.cut(Side::Start, added, from);
        }
    }

    /// Makes the own dates and the cuts of each entry say why it has its period: a
    /// new record and an import say only that an entry ends where the next one
    /// begins, and a program of the version before says nothing of cuts.
    fn explain(&mut self) {
        let next = |entry: &Entry| self.touching_after(entry).map(|next| next.id);
        let next: Vec<_> = self.entries.iter().map(next).collect();
        let mut before = None;
        for (entry, next) in self.entries.iter_mut().zip(next) {
            entry.explain(before, next);
            before = Some(entry.id);
        }
    }

    /// Gives every entry the period that follows from its own dates and its cuts.
    fn settle(&mut self) {
        self.sort();
        let mut before = None;
        for entry in &mut self.entries {
            entry.period = Period { from: entry.start_after(before), ..entry.left() };
            before = Some(entry.id);
        }
        self.sort();
        if self.key.is_contiguous() {
            let starts = self.entries.iter().skip(1).map(|entry| entry.period.from);
            let ends: Vec<_> = starts.chain([None]).collect();
            for (entry, end) in self.entries.iter_mut().zip(ends) {
                entry.period.to = end;
            }
        }
        for entry in &mut self.entries {
            entry.turns_on = entry::next_turn(entry.period, self.today);
        }
    }

    /// The entries that have other dates in `after`, from the earliest to the
    /// latest.
    fn moved<'a>(&'a self, after: &'a Self) -> impl Iterator<Item = Uuid> + 'a {
        let moved =
            |entry: &&Entry| self.entry(entry.id).is_ok_and(|before| before.period != entry.period);
        after.entries.iter().filter(moved).map(|entry| entry.id)
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

    /// The decision that makes this timeline `after`, with its edits in an order that
    /// the database can follow.
    fn decided(
        &self,
        outcome: Outcome,
        entry: Uuid,
        after: &Self,
        events: Vec<EntryEvent>,
    ) -> Decision {
        let edits = order::without_overlaps(&self.entries, self.edits_to(after));
        Decision { edits, outcome, entry: Some(entry), events }
    }

    fn edits_to(&self, after: &Self) -> Vec<Edit> {
        let removed = self.entries.iter().filter(|entry| after.entry(entry.id).is_err());
        let mut edits: Vec<Edit> = removed.map(|entry| Edit::Remove(entry.id)).collect();
        for entry in &after.entries {
            let Ok(before) = self.entry(entry.id) else {
                edits.push(Edit::Insert(entry.clone()));
                continue;
            };
            let dates = Edit::dates(entry);
            if dates != Edit::dates(before) {
                edits.push(dates);
            }
            if entry.value != before.value {
                edits.push(Edit::SetValue { id: entry.id, value: entry.value.clone() });
            }
        }
        edits
    }

    fn sort(&mut self) {
        self.entries.sort_by_key(Entry::place);
    }
}

#[cfg(test)]
mod tests;
