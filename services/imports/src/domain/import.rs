//! An import, its batches, and the ids of its rows.

use chrono::{DateTime, TimeDelta, Utc};
use concord_core::{
    caller::{Caller, PracticeId},
    row_token::{RowPosition, RowToken},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    batch::{BatchDigest, KindCounts},
    counters::Counters,
    enums::{Phase, State},
};

/// How long an import may receive no batch and no seal before it expires.
pub(crate) const UPLOAD_IDLE_TIMEOUT: TimeDelta = TimeDelta::hours(24);

/// Retention of the uploads after the end of an import.
pub(crate) const UPLOAD_RETENTION: TimeDelta = TimeDelta::days(30);

/// The key of an import: the tenant and the import id. Every query includes both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ImportKey {
    pub(crate) practice: PracticeId,
    pub(crate) id: Uuid,
}

/// An import: one migration of a product's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) key: ImportKey,
    pub(crate) product: String,
    pub(crate) account: String,
    pub(crate) label: String,
    pub(crate) created_by: String,
    pub(crate) state: State,
    /// The number of the round; the first is 1.
    pub(crate) round: i64,
    /// Whether it is a dry run, which applies nothing until it is committed.
    pub(crate) validate_only: bool,
    /// The content that was declared at its creation.
    pub(crate) expected: Option<Expected>,
    /// Whether `CancelImport` was called for it.
    pub(crate) cancel_requested: bool,
    /// The state in which the previous round ended; `None` in the first round.
    pub(crate) ended_before: Option<State>,
    pub(crate) phase: Phase,
    /// The progress within the phase, in the JSON of that phase; empty at its start.
    pub(crate) position: String,
    pub(crate) note: String,
    pub(crate) batch_count: i64,
    /// Number of imported records that have a possible duplicate.
    pub(crate) possible_duplicates: i64,
    pub(crate) created_at: DateTime<Utc>,
    /// When it last received a batch, or started to accept batches.
    pub(crate) touched_at: DateTime<Utc>,
    pub(crate) sealed_at: Option<DateTime<Utc>>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    /// When its uploads were purged.
    pub(crate) purged_at: Option<DateTime<Utc>>,
}

impl Import {
    /// An import that a caller creates at `now`: it waits for its first batch.
    pub(crate) fn new(caller: &Caller, id: Uuid, now: DateTime<Utc>) -> Self {
        Self {
            key: ImportKey { practice: caller.practice.clone(), id },
            product: caller.product.to_string(),
            account: caller.account.to_string(),
            label: String::new(),
            created_by: caller.user.clone(),
            state: State::Receiving,
            round: 1,
            validate_only: false,
            expected: None,
            cancel_requested: false,
            ended_before: None,
            phase: Phase::Index,
            position: String::new(),
            note: String::new(),
            batch_count: 0,
            possible_duplicates: 0,
            created_at: now,
            touched_at: now,
            sealed_at: None,
            ended_at: None,
            purged_at: None,
        }
    }

    /// How far the purge of the uploads has progressed: the last record whose content
    /// was removed. `None` if no purge has started.
    pub(crate) fn removal(&self) -> Option<RowId> {
        let removal: Removal = serde_json::from_str(&self.position).ok()?;
        let Removal { emptied: (batch, row) } = removal;
        self.state.is_end().then_some(RowId { batch, row })
    }

    /// Whether the uploads were purged, at least in part.
    pub(crate) fn is_removed(&self) -> bool {
        self.purged_at.is_some() || self.removal().is_some()
    }
}

/// The position of an ended import while its uploads are purged.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    emptied: (i64, i64),
}

/// The position of an import whose records up to this one are emptied.
pub(crate) fn emptied_up_to(RowId { batch, row }: RowId) -> String {
    serde_json::to_string(&Removal { emptied: (batch, row) }).unwrap_or_default()
}

/// The position of an import whose records are reset: the progress of [`Phase::Reset`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ResetPosition {
    /// Whether all records are processed again: the verdicts of a dry run do not count.
    pub(crate) all: bool,
    /// The last record that was reset.
    #[serde(flatten)]
    pub(crate) at: RowId,
}

impl ResetPosition {
    /// Serializes it for storage.
    pub(crate) fn to_json(self) -> String {
        serde_json::to_string(&self).unwrap_or_default()
    }

    /// The start of the phase.
    pub(crate) fn beginning(all: bool) -> Self {
        Self { all, at: RowId::default() }
    }
}

/// The declared content of an import. Fields without a value are not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// The declared batch keys; empty if any key is allowed.
    pub(crate) batch_keys: Vec<String>,
    pub(crate) batches: Option<i64>,
    pub(crate) records: Option<i64>,
}

impl Expected {
    /// Serializes it for storage.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses the output of [`to_json`](Self::to_json).
    pub(crate) fn of_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// Why a new batch does not belong to the declared content, given that `arrived`
    /// batches exist. `None` if it does.
    pub(crate) fn undeclared(&self, batch_key: &str, arrived: i64) -> Option<Undeclared> {
        if !self.batch_keys.is_empty() {
            let is_declared = self.batch_keys.iter().any(|key| key == batch_key);
            return (!is_declared).then_some(Undeclared::Key);
        }
        let batches = self.batches?;
        (arrived >= batches).then_some(Undeclared::Count(batches))
    }

    /// The declared number of records, if it cannot be reached any more: all batches
    /// have arrived with another number, or more records have arrived already.
    pub(crate) fn mismatched_records(&self, batch_keys: &[String], records: i64) -> Option<i64> {
        let expected = self.records.filter(|expected| *expected != records)?;
        let counts = self.batches.is_some() || !self.batch_keys.is_empty();
        let batches = Self { records: None, ..self.clone() };
        let is_whole = counts && batches.is_complete(batch_keys, records);
        (is_whole || records > expected).then_some(expected)
    }

    /// Whether all declared content has arrived.
    pub(crate) fn is_complete(&self, batch_keys: &[String], records: i64) -> bool {
        let arrived = i64::try_from(batch_keys.len()).unwrap_or(i64::MAX);
        let keys = self.batch_keys.is_empty()
            || (self.batch_keys.len() == batch_keys.len()
                && self.batch_keys.iter().all(|key| batch_keys.contains(key)));
        keys && self.batches.is_none_or(|batches| batches == arrived)
            && self.records.is_none_or(|expected| expected == records)
    }
}

/// Why a batch does not belong to the declared content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undeclared {
    /// The key is not among the declared keys.
    Key,
    /// All declared batches have arrived.
    Count(i64),
}

/// An import with its counters, as it is returned to callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportView {
    pub(crate) import: Import,
    pub(crate) counters: Counters,
}

/// A staged batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) import_id: Uuid,
    /// The ordinal of the batch in its import; the first is 1.
    pub(crate) ordinal: i64,
    /// The round that it was uploaded in.
    pub(crate) round: i64,
    pub(crate) batch_key: String,
    pub(crate) sha256: BatchDigest,
    pub(crate) size_bytes: i64,
    pub(crate) counts: KindCounts,
    pub(crate) staged_at: DateTime<Utc>,
}

/// The id of a record in an import: the ordinal of its batch, and its row in that
/// batch, counted from 1. The default is before all records.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct RowId {
    pub(crate) batch: i64,
    pub(crate) row: i64,
}

impl RowId {
    /// The row token of the record in an import, `imp_…`.
    pub(crate) fn token(self, import: &str) -> RowToken {
        let Self { batch, row } = self;
        RowToken::of(import, RowPosition { batch, row })
    }

    /// Parses a row token; `None` if it is not a token of the import.
    pub(crate) fn of_token(import: &str, token: &str) -> Option<Self> {
        let RowPosition { batch, row } = RowToken::parse(token)?.position_in(import)?;
        Some(Self { batch, row })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undeclared_batch_is_rejected() {
        let keys = Expected { batch_keys: vec!["a".into(), "b".into()], ..Expected::default() };
        assert_eq!((keys.undeclared("a", 1), keys.undeclared("b", 1)), (None, None));
        assert_eq!(keys.undeclared("c", 0), Some(Undeclared::Key));
        let count = Expected { batches: Some(2), ..Expected::default() };
        assert_eq!(
            (count.undeclared("c", 1), count.undeclared("c", 2)),
            (None, Some(Undeclared::Count(2)))
        );
        let records = Expected { records: Some(2), ..Expected::default() };
        assert_eq!(records.undeclared("c", 9), None);
    }

    #[test]
    fn record_count_mismatch_is_reported_when_all_batches_arrived() {
        let arrived = ["a".to_owned(), "b".to_owned()];
        let keys =
            Expected { batch_keys: arrived.to_vec(), records: Some(3), ..Expected::default() };
        assert_eq!(keys.mismatched_records(&arrived[..1], 2), None);
        assert_eq!(keys.mismatched_records(&arrived, 2), Some(3));
        assert_eq!(keys.mismatched_records(&arrived, 3), None);
        let records = Expected { records: Some(3), ..Expected::default() };
        assert_eq!(records.mismatched_records(&arrived, 2), None);
        assert_eq!(records.mismatched_records(&arrived, 4), Some(3));
    }
}
