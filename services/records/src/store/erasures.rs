//! The erasure log: the purged records and the digests of their external keys. The imports
//! service reads it to erase the uploaded data of these records. The tombstones keep the id,
//! kind and time of each purged record.
//!
//! Keys are stored as digests. A key is recorded when its link is removed, because a record
//! has no links left when it is purged.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use concord_core::{caller::PracticeId, key_digest::KeyDigest};
use concord_db::TenantDb;
use sea_orm::{
    ConnectionTrait, IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::{
    bulk::{self, sorted_chunks},
    entities::{erasure, former_link, tombstone},
    stored::Stored as _,
};
use crate::{
    domain::{link::Link, record::RecordRef},
    error::RecordError,
};

/// One entry of the erasure log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(crate) position: i64,
    pub(crate) what: Erased,
    pub(crate) erased_at: DateTime<Utc>,
}

/// What was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Erased {
    /// A record.
    Record(RecordRef),
    /// The digest of an external key of a record.
    Key(KeyDigest),
}

/// The digest of the key of a link.
pub(crate) fn digest_of(practice: &PracticeId, link: &Link) -> KeyDigest {
    let Link { product, account, kind, external_id, .. } = link;
    KeyDigest::of(practice, (product.as_str(), account.as_str()), kind.imported(), external_id)
}

/// Records the key digests of links that are about to be removed.
pub(super) async fn note_keys(
    db: TenantDb<'_, impl ConnectionTrait>,
    links: &[Link],
) -> Result<(), RecordError> {
    for link in links {
        let digest = digest_of(db.practice(), link).to_vec();
        db.execute(|sql| {
            format!(
                "INSERT INTO former_link (practice_id, record_id, digest) VALUES ({}, {}, {}) \
                 ON CONFLICT DO NOTHING",
                sql.practice(),
                sql.bind(link.record_id),
                sql.bind(digest)
            )
        })
        .await?;
    }
    Ok(())
}

/// Appends the erasures of these records and of all their keys.
pub(crate) async fn add(
    db: TenantDb<'_, impl ConnectionTrait>,
    records: &[RecordRef],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let ids: Vec<Uuid> = records.iter().map(|record| record.id).collect();
    let mut erased: Vec<Erased> = records.iter().copied().map(Erased::Record).collect();
    let key = former_link::Column::RecordId;
    for row in bulk::find(db, db.select::<former_link::Entity>(), key, &ids).await? {
        erased.push(Erased::Key(read_digest(&row.digest)?));
    }
    bulk::delete(db, db.delete::<former_link::Entity>(), key, &ids).await?;
    let count = i64::try_from(erased.len()).unwrap_or(i64::MAX);
    let first = reserve(db, count).await?;
    let row = |(position, erased): (i64, Erased)| {
        let (record, digest) = match erased {
            Erased::Record(record) => (Some(record), None),
            Erased::Key(digest) => (None, Some(digest.to_vec())),
        };
        let row = erasure::Model {
            practice_id: db.practice().to_string(),
            position,
            record_kind: record.map(|record| record.kind.stored()),
            record_id: record.map(|record| record.id),
            digest,
            erased_at: now,
        };
        row.into_active_model()
    };
    Ok(db.insert_all((first..).zip(erased).map(row).collect()).await?)
}

/// Inserts a tombstone for each record.
pub(crate) async fn insert_tombstones(
    db: TenantDb<'_, impl ConnectionTrait>,
    records: &[RecordRef],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let row = |record: &RecordRef| {
        let row = tombstone::Model {
            practice_id: db.practice().to_string(),
            record_id: record.id,
            record_kind: record.kind.stored(),
            purged_at: now,
        };
        row.into_active_model()
    };
    Ok(db.insert_all(records.iter().map(row).collect()).await?)
}

/// Reserves the next `count` positions of the practice, and returns the first. Locks the
/// head until the end of the transaction, so that positions follow the order of commits.
async fn reserve(db: TenantDb<'_, impl ConnectionTrait>, count: i64) -> Result<i64, RecordError> {
    let row = db
        .query_one(|sql| {
            format!(
                "INSERT INTO erasure_head (practice_id, position) VALUES ({}, {}) \
                 ON CONFLICT (practice_id) \
                 DO UPDATE SET position = erasure_head.position + excluded.position \
                 RETURNING position",
                sql.practice(),
                sql.bind(count)
            )
        })
        .await?;
    let head: i64 = row.ok_or(RecordError::Corrupt("a position"))?.try_get("", "position")?;
    Ok(head - count + 1)
}

/// The last position of the practice; 0 if nothing was erased.
pub(crate) async fn head(db: TenantDb<'_, impl ConnectionTrait>) -> Result<i64, RecordError> {
    let row = db
        .query_one(|sql| {
            format!("SELECT position FROM erasure_head WHERE practice_id = {}", sql.practice())
        })
        .await?;
    Ok(row.map_or(Ok(0), |row| row.try_get("", "position"))?)
}

/// At most `limit` erasures of the practice after a position.
pub(crate) async fn page(
    db: TenantDb<'_, impl ConnectionTrait>,
    after: i64,
    limit: u64,
) -> Result<Vec<Erasure>, RecordError> {
    let rows = db
        .select::<erasure::Entity>()
        .filter(erasure::COLUMN.position.gt(after))
        .order_by_asc(erasure::Column::Position)
        .limit(limit)
        .all(db.connection())
        .await?;
    rows.into_iter().map(read).collect()
}

/// The keys among `keys` that were erased after a position.
pub(crate) async fn keys_after(
    db: TenantDb<'_, impl ConnectionTrait>,
    after: i64,
    keys: &[KeyDigest],
) -> Result<HashSet<KeyDigest>, RecordError> {
    let mut erased = HashSet::new();
    for keys in sorted_chunks(keys) {
        let rows = db.query(|sql| {
            format!(
                "SELECT digest FROM erasure \
                 WHERE practice_id = {} AND position > {} AND digest {}",
                sql.practice(),
                sql.bind(after),
                sql.among(keys.iter().map(|key| key.to_vec().into()).collect())
            )
        });
        for row in rows.await? {
            erased.insert(read_digest(&row.try_get::<Vec<u8>>("", "digest")?)?);
        }
    }
    Ok(erased)
}

fn read(row: erasure::Model) -> Result<Erasure, RecordError> {
    let erasure::Model { position, record_kind, record_id, digest, erased_at, .. } = row;
    let what = match (record_kind, record_id, digest) {
        (Some(kind), Some(id), _) => Erased::Record(RecordRef {
            kind: concord_proto::pb::records::RecordKind::read(&kind)?,
            id,
        }),
        (_, _, Some(digest)) => Erased::Key(read_digest(&digest)?),
        _ => return Err(RecordError::Corrupt("an erasure")),
    };
    Ok(Erasure { position, what, erased_at })
}

fn read_digest(bytes: &[u8]) -> Result<KeyDigest, RecordError> {
    KeyDigest::read(bytes).ok_or(RecordError::Corrupt("a digest"))
}
