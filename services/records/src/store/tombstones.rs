//! Tombstones of purged records: id, kind and time.

use chrono::{DateTime, Utc};
use concord_core::caller::PracticeId;
use concord_db::insert_all;
use sea_orm::{ConnectionTrait, IntoActiveModel as _};

use super::{entities::tombstone, text::Stored as _};
use crate::{domain::record::RecordRef, error::RecordError};

/// Inserts a tombstone for each record.
pub(crate) async fn insert(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    records: &[RecordRef],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let row = |record: &RecordRef| {
        let row = tombstone::Model {
            practice_id: practice.to_string(),
            record_id: record.id,
            record_kind: record.kind.stored(),
            purged_at: now,
        };
        row.into_active_model()
    };
    Ok(insert_all(db, records.iter().map(row).collect()).await?)
}
