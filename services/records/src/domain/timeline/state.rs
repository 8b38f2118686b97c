//! The entries of one timeline on one day, with the rollover of that day.

use chrono::NaiveDate;
use concord_core::rules::{date::Period, value::Value};
use concord_proto::pb::records::EntryStatus;
use uuid::Uuid;

use super::{
    decision::{Decision, Edit, EntryEvent, EventKind, Outcome},
    entry::{Entry, Side, next_status_change},
    error::TimelineError,
    key::TimelineKey,
};

/// True if two periods conflict on a timeline that may have gaps. An unknown start counts
/// as not after today, so that the statuses of both follow from their dates.
pub(super) fn collide(one: Period, other: Period, today: NaiveDate) -> bool {
    let begun = |period: Period| match period {
        Period { from: None, to } if to.is_none_or(|to| today < to) => {
            Period { from: Some(today), to }
        }
        other => other,
    };
    begun(one).collides(&begun(other))
}

/// One timeline of one record on one day, after the rollover of that day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    pub(super) owner: Uuid,
    pub(super) key: TimelineKey,
    /// From the earliest to the latest.
    pub(super) entries: Vec<Entry>,
    pub(super) today: NaiveDate,
}

impl Timeline {
    /// The timeline of `entries` on the day `today`, with the rollover: the status changes
    /// since the last write, usually none.
    ///
    /// The rollover is written first, as a change of the system, because the decision of a
    /// command depends on it. This is the only constructor, so that no command can skip a
    /// rollover. Entries of other owners and timelines are ignored.
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
        loaded.reconcile();
        let rollover = loaded.rollover();
        (loaded.apply(&rollover), rollover)
    }

    /// The entries, from the earliest to the latest.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The current entry.
    pub(crate) fn current(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| self.status(entry) == EntryStatus::Current)
    }

    /// The entry that was current yesterday.
    pub(crate) fn current_yesterday(&self) -> Option<&Entry> {
        let yesterday = self.today.pred_opt()?;
        let current = |entry: &&Entry| entry.period.status(yesterday) == EntryStatus::Current;
        self.entries.iter().rfind(current)
    }

    /// The scheduled entry, which begins after today.
    pub(crate) fn scheduled(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| self.status(entry) == EntryStatus::Scheduled)
    }

    /// The entry with this id.
    pub(crate) fn entry(&self, id: Uuid) -> Result<&Entry, TimelineError> {
        self.entries.iter().find(|entry| entry.id == id).ok_or(TimelineError::UnknownEntry(id))
    }

    /// The timeline after `decision`, as the database stores it after all edits. Edits of
    /// missing entries change nothing.
    pub(crate) fn apply(&self, decision: &Decision) -> Self {
        let mut after = self.clone();
        for edit in &decision.edits {
            edit.write_to(&mut after.entries);
        }
        after.sort();
        after
    }

    /// A past entry whose dates a decision changes.
    pub(crate) fn redated_past_entry(&self, decision: &Decision) -> Option<Uuid> {
        decision.edits.iter().find_map(|edit| match edit {
            Edit::SetDates { id, period, .. } => {
                let entry = self.entry(*id).ok()?;
                let moves = self.status(entry) == EntryStatus::Past && entry.period != *period;
                moves.then_some(*id)
            }
            _ => None,
        })
    }

    pub(super) fn status(&self, entry: &Entry) -> EntryStatus {
        entry.period.status(self.today)
    }

    /// The entry that ends on the day on which `entry` begins.
    pub(super) fn touching_before(&self, entry: &Entry) -> Option<&Entry> {
        self.entries.iter().find(|other| other.touches(entry))
    }

    /// The entry that begins on the day on which `entry` ends.
    pub(super) fn touching_after(&self, entry: &Entry) -> Option<&Entry> {
        self.entries.iter().find(|other| entry.touches(other))
    }

    /// True if `entry` is a name without a name before it. It cannot be cancelled.
    pub(super) fn is_first_name(&self, entry: &Entry) -> bool {
        self.key.is_contiguous() && self.touching_before(entry).is_none()
    }

    /// The entries that conflict with an entry of `period`.
    pub(super) fn conflicting_ids(&self, period: Period) -> Vec<Uuid> {
        let in_the_way = self.entries.iter().filter(|entry| self.collide(entry, period));
        in_the_way.map(|entry| entry.id).collect()
    }

    /// True if `entry` conflicts with another entry of `period`.
    pub(super) fn collide(&self, entry: &Entry, period: Period) -> bool {
        if self.key.is_contiguous() {
            entry.collides(period)
        } else {
            collide(entry.period, period, self.today)
        }
    }

    /// Checks that no entries but `id` overlap another entry.
    ///
    /// # Errors
    ///
    /// [`TimelineError::Overlap`] with those entries.
    pub(super) fn check_no_overlap(&self, id: Uuid) -> Result<(), TimelineError> {
        let in_the_way = |n: usize, entry: &Entry| {
            entry.id != id
                && (self.entries.iter().enumerate())
                    .any(|(m, other)| m != n && self.collide(other, entry.period))
        };
        let found = self.entries.iter().enumerate().filter(|(n, entry)| in_the_way(*n, entry));
        let found: Vec<Uuid> = found.map(|(_, entry)| entry.id).collect();
        if found.is_empty() { Ok(()) } else { Err(TimelineError::Overlap(found)) }
    }

    /// A new entry of this timeline with declared dates.
    pub(super) fn new_entry(&self, id: Uuid, value: Value, period: Period) -> Entry {
        Entry::new(id, self.owner, self.key, value, period, self.today)
    }

    pub(super) fn find_mut(&mut self, id: Uuid) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// Cuts the end of `entry` where the entry `by` begins. Does nothing for names, which
    /// always end there.
    pub(super) fn cut_end(&mut self, entry: Uuid, by: Uuid, at: NaiveDate) {
        let contiguous = self.key.is_contiguous();
        if let Some(entry) = self.find_mut(entry).filter(|_| !contiguous) {
            entry.cut(Side::End, by, at);
        }
    }

    /// Keeps the start of the name after the new name `added`, if another name has cut it.
    pub(super) fn keep_start_after(&mut self, added: Uuid) {
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

    /// Reconciles the declared dates and the cuts of each entry with its period. New
    /// records and imports store an implicit end without a cut, and the previous version
    /// of the service stores no cuts.
    fn reconcile(&mut self) {
        let next = |entry: &Entry| self.touching_after(entry).map(|next| next.id);
        let next: Vec<_> = self.entries.iter().map(next).collect();
        let mut before = None;
        for (entry, next) in self.entries.iter_mut().zip(next) {
            entry.reconcile(before, next);
            before = Some(entry.id);
        }
    }

    /// The status changes since the timeline was last written, each once, in the order of
    /// the days.
    fn rollover(&self) -> Decision {
        let due = |entry: &&Entry| entry.status_changes_on.is_some_and(|day| day <= self.today);
        let due: Vec<&Entry> = self.entries.iter().filter(due).collect();
        let outcome = if due.is_empty() { Outcome::NoChange } else { Outcome::Rollover };
        let edits = due.iter().map(|entry| self.rolled_over(entry)).collect();
        let events = due.iter().flat_map(|entry| self.rollover_events(entry)).collect();
        Decision { edits, outcome, entry: None, events }
    }

    /// The edit that sets the next status change of `entry`.
    fn rolled_over(&self, entry: &Entry) -> Edit {
        let status_changes_on = next_status_change(entry.period, self.today);
        Edit::dates(&Entry { status_changes_on, ..entry.clone() })
    }

    fn rollover_events(&self, entry: &Entry) -> impl Iterator<Item = EntryEvent> + use<> {
        let began = (entry.status_changes_on == entry.period.from).then(|| {
            let closed = self.touching_before(entry).map(|before| before.id);
            EntryEvent::new(EventKind::BecameCurrent, entry.id).with(closed)
        });
        // An entry that is followed by another has no `Ended` event: the event of the next
        // one includes it. The table has no row for an end that was known in advance, which
        // an import may set. When it is reached, it is an end as any other.
        let over = entry.period.to.is_some_and(|to| to <= self.today);
        let ended = (over && self.touching_after(entry).is_none())
            .then(|| EntryEvent::new(EventKind::Ended, entry.id));
        began.into_iter().chain(ended)
    }

    /// Recomputes the period of every entry from its declared dates and its cuts.
    pub(super) fn recompute_periods(&mut self) {
        self.sort();
        let mut before = None;
        for entry in &mut self.entries {
            entry.period = Period { from: entry.start_after(before), ..entry.trimmed_period() };
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
            entry.status_changes_on = next_status_change(entry.period, self.today);
        }
    }

    /// The entries with other dates in `after`, from the earliest to the latest.
    pub(super) fn moved<'a>(&'a self, after: &'a Self) -> impl Iterator<Item = Uuid> + 'a {
        let moved =
            |entry: &&Entry| self.entry(entry.id).is_ok_and(|before| before.period != entry.period);
        after.entries.iter().filter(moved).map(|entry| entry.id)
    }

    /// Checks that a value fits this timeline and is not blank.
    pub(super) fn check_value(&self, value: &Value) -> Result<(), TimelineError> {
        if !self.key.accepts(value) {
            Err(TimelineError::WrongValue)
        } else if value.display().is_empty() {
            Err(TimelineError::ValueBlank)
        } else {
            Ok(())
        }
    }

    fn sort(&mut self) {
        self.entries.sort_by_key(Entry::sort_key);
    }
}
