//! An import, its batches, and the rows in them.

use chrono::{DateTime, Utc};
use shared::caller::PracticeId;
use uuid::Uuid;

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
    pub(crate) phase: Phase,
    /// How far the phase has come, as it wrote it; empty at its beginning.
    pub(crate) position: String,
    pub(crate) note: String,
    pub(crate) batch_count: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) sealed_at: Option<DateTime<Utc>>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
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
