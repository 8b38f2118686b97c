//! Counters of the records by kind and status. Every page of work updates them, so that
//! progress is reported without counting the records.

use std::collections::BTreeMap;

use super::enums::{Kind, Status};

/// Number of records by kind and status. As a delta, the numbers may be negative.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    records: BTreeMap<(Kind, Status), i64>,
    /// Records that have a warning.
    warned: BTreeMap<Kind, i64>,
}

impl Counters {
    /// Adds `n` records of a kind in a status.
    pub(crate) fn add(&mut self, kind: Kind, status: Status, n: i64) {
        *self.records.entry((kind, status)).or_default() += n;
    }

    /// Moves one record from one status to another.
    pub(crate) fn shift(&mut self, kind: Kind, from: Status, to: Status) {
        self.add(kind, from, -1);
        self.add(kind, to, 1);
    }

    /// The entries that are not zero.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Kind, Status, i64)> + '_ {
        self.records
            .iter()
            .filter(|(_, n)| **n != 0)
            .map(|((kind, status), n)| (*kind, *status, *n))
    }

    /// Adds `n` records of a kind that have a warning.
    pub(crate) fn add_warned(&mut self, kind: Kind, n: i64) {
        *self.warned.entry(kind).or_default() += n;
    }

    /// The records of one kind, or of all, that have a warning.
    pub(crate) fn warned(&self, kind: Option<Kind>) -> i64 {
        let fits = |k: &Kind| kind.is_none_or(|kind| kind == *k);
        self.warned.iter().filter(|(k, _)| fits(k)).map(|(_, n)| n).sum()
    }

    /// The kinds that have a record.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<_> = self.entries().map(|(kind, _, _)| kind).collect();
        kinds.dedup();
        kinds
    }

    /// The records of one kind, or of all, in a status.
    pub(crate) fn of(&self, kind: Option<Kind>, status: Status) -> i64 {
        let fits = |k: Kind| kind.is_none_or(|kind| kind == k);
        self.entries().filter(|(k, s, _)| fits(*k) && *s == status).map(|(_, _, n)| n).sum()
    }

    /// The records of one kind, or of all, in any status except [`Status::Replaced`].
    pub(crate) fn received(&self, kind: Option<Kind>) -> i64 {
        let counted = Status::ALL.iter().filter(|status| **status != Status::Replaced);
        counted.map(|status| self.of(kind, *status)).sum()
    }

    /// The records without a verdict.
    pub(crate) fn waiting(&self, kind: Option<Kind>) -> i64 {
        self.of(kind, Status::Staged) + self.of(kind, Status::Ready)
    }

    /// The records without a verdict, and those that will not get one.
    pub(crate) fn unprocessed(&self, kind: Option<Kind>) -> i64 {
        self.waiting(kind) + self.of(kind, Status::Unprocessed)
    }

    /// The records that broke a rule, or whose parent was not imported.
    pub(crate) fn failed(&self, kind: Option<Kind>) -> i64 {
        self.of(kind, Status::Failed) + self.of(kind, Status::Blocked)
    }
}

impl FromIterator<(Kind, Status, i64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (Kind, Status, i64)>>(entries: I) -> Self {
        let mut counters = Self::default();
        for (kind, status, n) in entries {
            counters.add(kind, status, n);
        }
        counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_record_is_counted_once() {
        let mut counters = Counters::default();
        counters.add(Kind::Client, Status::Staged, 3);
        counters.shift(Kind::Client, Status::Staged, Status::Ready);
        counters.shift(Kind::Client, Status::Staged, Status::Blocked);
        assert_eq!(counters.received(None), 3);
        assert_eq!(counters.unprocessed(Some(Kind::Client)), 2);
        assert_eq!(counters.failed(Some(Kind::Client)), 1);
        assert_eq!(counters.received(Some(Kind::Contact)), 0);
    }
}
