//! An import, its batches, and the rows in them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    caller::PracticeId,
    row_token::{RowPlace, RowToken},
};
use uuid::Uuid;

use crate::error::ImportError;

use super::{
    batch::{BatchDigest, Counts},
    tally::Tally,
    words::{Phase, State},
};

/// Names an import; every query about one needs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ImportKey {
    pub(crate) practice: PracticeId,
    pub(crate) id: Uuid,
}

/// One migration of a product's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) key: ImportKey,
    pub(crate) product: String,
    pub(crate) account: String,
    pub(crate) label: String,
    pub(crate) created_by: String,
    pub(crate) state: State,
    /// 1 for the first pass over the records.
    pub(crate) round: i64,
    /// Whether it is only checked until it is committed.
    pub(crate) validate_only: bool,
    /// What was declared when it was opened.
    pub(crate) expected: Option<Expected>,
    /// Whether it was asked to stop.
    pub(crate) cancel_requested: bool,
    /// How it had ended before the round that it is in; none in the first.
    pub(crate) ended_before: Option<State>,
    pub(crate) phase: Phase,
    /// How far the phase has come, as it wrote it; empty at its beginning.
    pub(crate) position: String,
    pub(crate) note: String,
    pub(crate) batch_count: i64,
    /// Imported records that look like another one.
    pub(crate) possible_duplicates: i64,
    pub(crate) created_at: DateTime<Utc>,
    /// When it last took a batch, or began to take them.
    pub(crate) touched_at: DateTime<Utc>,
    pub(crate) sealed_at: Option<DateTime<Utc>>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    /// When what was uploaded was removed.
    pub(crate) purged_at: Option<DateTime<Utc>>,
}

impl Import {
    /// How far the removal of what was uploaded has come, when it has begun: the record
    /// that was emptied last.
    pub(crate) fn removal(&self) -> Option<RowId> {
        let removal: Removal = serde_json::from_str(&self.position).ok()?;
        let Removal { emptied: (batch, row) } = removal;
        self.state.is_end().then_some(RowId { batch, row })
    }

    /// Whether what was uploaded is there no longer, or not all of it.
    pub(crate) fn is_removed(&self) -> bool {
        self.purged_at.is_some() || self.removal().is_some()
    }
}

/// The position of an import that has ended, while what was uploaded is removed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    emptied: (i64, i64),
}

/// The position of an import of which the records up to this one are emptied.
pub(crate) fn emptied_up_to(RowId { batch, row }: RowId) -> String {
    serde_json::to_string(&Removal { emptied: (batch, row) }).unwrap_or_default()
}

/// What an import is to hold; nothing is compared that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// The keys of its batches; any when it is empty.
    pub(crate) batch_keys: Vec<String>,
    pub(crate) batches: Option<i64>,
    pub(crate) records: Option<i64>,
}

impl Expected {
    /// As it is kept.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub(crate) fn of_json(text: &str) -> Result<Self, ImportError> {
        serde_json::from_str(text).map_err(|_| ImportError::Corrupt("what was declared"))
    }

    /// Why a new batch is none of those that were declared, beside `arrived` ones.
    pub(crate) fn refuses(&self, batch_key: &str, arrived: i64) -> Option<Undeclared> {
        if !self.batch_keys.is_empty() {
            let is_declared = self.batch_keys.iter().any(|key| key == batch_key);
            return (!is_declared).then_some(Undeclared::Key);
        }
        let batches = self.batches?;
        (arrived >= batches).then_some(Undeclared::Count(batches))
    }

    /// How many records were declared, when it will never be that many: every batch
    /// has arrived with another number, or there are more already.
    pub(crate) fn other_records(&self, batch_keys: &[String], records: i64) -> Option<i64> {
        let expected = self.records.filter(|expected| *expected != records)?;
        let counts = self.batches.is_some() || !self.batch_keys.is_empty();
        let batches = Self { records: None, ..self.clone() };
        let is_whole = counts && batches.is_met(batch_keys, records);
        (is_whole || records > expected).then_some(expected)
    }

    /// Whether what has arrived is all of it.
    pub(crate) fn is_met(&self, batch_keys: &[String], records: i64) -> bool {
        let arrived = i64::try_from(batch_keys.len()).unwrap_or(i64::MAX);
        let keys = self.batch_keys.is_empty()
            || (self.batch_keys.len() == batch_keys.len()
                && self.batch_keys.iter().all(|key| batch_keys.contains(key)));
        keys && self.batches.is_none_or(|batches| batches == arrived)
            && self.records.is_none_or(|expected| expected == records)
    }
}

/// Why a batch was not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undeclared {
    /// Its key is none of those.
    Key,
    /// There are as many as were declared.
    Count(i64),
}

/// An import with its numbers, as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportView {
    pub(crate) import: Import,
    pub(crate) tally: Tally,
}

/// What was staged as one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) import_id: Uuid,
    /// The place of the batch in its import, from 1.
    pub(crate) ordinal: i64,
    /// The round that it belongs to.
    pub(crate) round: i64,
    pub(crate) batch_key: String,
    pub(crate) sha256: BatchDigest,
    pub(crate) size_bytes: i64,
    pub(crate) counts: Counts,
    pub(crate) staged_at: DateTime<Utc>,
}

/// Names a record of an import by its place: the ordinal of its batch, and its
/// row there, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId {
    pub(crate) batch: i64,
    pub(crate) row: i64,
}

impl RowId {
    /// The token of the record, in an import, `imp_…`.
    pub(crate) fn token(self, import: &str) -> RowToken {
        let Self { batch, row } = self;
        RowToken::of(import, RowPlace { batch, row })
    }

    /// The record of a token; none when it is not a token of the import.
    pub(crate) fn of_token(import: &str, token: &str) -> Option<Self> {
        let RowPlace { batch, row } = RowToken::parse(token)?.place_in(import)?;
        Some(Self { batch, row })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_beside_those_that_were_declared_is_refused() {
        let keys = Expected { batch_keys: vec!["a".into(), "b".into()], ..Expected::default() };
        assert_eq!((keys.refuses("a", 1), keys.refuses("b", 1)), (None, None));
        assert_eq!(keys.refuses("c", 0), Some(Undeclared::Key));
        let count = Expected { batches: Some(2), ..Expected::default() };
        assert_eq!(
            (count.refuses("c", 1), count.refuses("c", 2)),
            (None, Some(Undeclared::Count(2)))
        );
        let records = Expected { records: Some(2), ..Expected::default() };
        assert_eq!(records.refuses("c", 9), None);
    }

    #[test]
    fn another_number_of_records_is_told_once_every_batch_is_there() {
        let arrived = ["a".to_owned(), "b".to_owned()];
        let keys =
            Expected { batch_keys: arrived.to_vec(), records: Some(3), ..Expected::default() };
        assert_eq!(keys.other_records(&arrived[..1], 2), None);
        assert_eq!(keys.other_records(&arrived, 2), Some(3));
        assert_eq!(keys.other_records(&arrived, 3), None);
        let records = Expected { records: Some(3), ..Expected::default() };
        assert_eq!(records.other_records(&arrived, 2), None);
        assert_eq!(records.other_records(&arrived, 4), Some(3));
    }
}
