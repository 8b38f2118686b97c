//! The erasure log: the purged records and the digests of their external keys. The imports
//! service reads it to erase the uploaded data of these records. The tombstones keep the id,
//! kind and time of each purged record.
//!
//! Keys are stored as digests. A key is recorded when its link is removed, because a record
//! has no links left when it is purged.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use concord_core::{caller::PracticeId, key_digest::KeyDigest};
use concord_db::{Binds, insert_all};
use sea_orm::{
    ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Statement,
};
use uuid::Uuid;

use super::{
    entities::{erasure, former_link, tombstone},
    expiry::remove_oldest,
    sql::{Stored as _, among, sorted_chunks},
};
use crate::{
    domain::{
        link::{Link, LinkKind},
        record::RecordRef,
    },
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

/// Records the key digests of links that are about to be removed. Links of entries are
/// not needed: an entry is erased with its owner.
pub(super) async fn note_keys(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    links: &[Link],
) -> Result<(), RecordError> {
    let sql = "INSERT INTO former_link (practice_id, record_id, digest) VALUES ($1, $2, $3) \
               ON CONFLICT DO NOTHING";
    for link in links.iter().filter(|link| link.kind != LinkKind::Entry) {
        let digest = digest_of(practice, link).to_vec();
        let values = [practice.as_str().into(), link.record_id.into(), digest.into()];
        let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
        db.execute_raw(statement).await?;
    }
    Ok(())
}

/// Appends the erasures of these records and of all their keys.
pub(crate) async fn add(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    records: &[RecordRef],
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let ids: Vec<Uuid> = records.iter().map(|record| record.id).collect();
    let mut erased: Vec<Erased> = records.iter().copied().map(Erased::Record).collect();
    for ids in sorted_chunks(&ids) {
        let of_them = || among(db, former_link::Column::RecordId, ids.clone());
        let in_practice = former_link::COLUMN.practice_id.eq(practice.as_str());
        let keys = former_link::Entity::find().filter(in_practice.clone()).filter(of_them());
        for row in keys.all(db).await? {
            erased.push(Erased::Key(read_digest(&row.digest)?));
        }
        let keys = former_link::Entity::delete_many().filter(in_practice).filter(of_them());
        keys.exec(db).await?;
    }
    let count = i64::try_from(erased.len()).unwrap_or(i64::MAX);
    let first = reserve(db, practice, count).await?;
    let row = |(position, erased): (i64, Erased)| {
        let (record, digest) = match erased {
            Erased::Record(record) => (Some(record), None),
            Erased::Key(digest) => (None, Some(digest.to_vec())),
        };
        let row = erasure::Model {
            practice_id: practice.to_string(),
            position,
            record_kind: record.map(|record| record.kind.stored()),
            record_id: record.map(|record| record.id),
            digest,
            erased_at: now,
        };
        row.into_active_model()
    };
    Ok(insert_all(db, (first..).zip(erased).map(row).collect()).await?)
}

/// Inserts a tombstone for each record.
pub(crate) async fn insert_tombstones(
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

/// Reserves the next `count` positions of the practice, and returns the first. Locks the
/// head until the end of the transaction, so that positions follow the order of commits.
async fn reserve(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    count: i64,
) -> Result<i64, RecordError> {
    let sql = "INSERT INTO erasure_head (practice_id, position) VALUES ($1, $2) \
               ON CONFLICT (practice_id) \
               DO UPDATE SET position = erasure_head.position + excluded.position \
               RETURNING position";
    let values = [practice.as_str().into(), count.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let row = db.query_one_raw(statement).await?;
    let head: i64 = row.ok_or(RecordError::Corrupt("a position"))?.try_get("", "position")?;
    Ok(head - count + 1)
}

/// The last position of the practice; 0 if nothing was erased.
pub(crate) async fn head(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
) -> Result<i64, RecordError> {
    let sql = "SELECT position FROM erasure_head WHERE practice_id = $1";
    let values = [practice.as_str().into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let row = db.query_one_raw(statement).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get("", "position"))?)
}

/// At most `limit` erasures of the practice after a position.
pub(crate) async fn page(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    after: i64,
    limit: u64,
) -> Result<Vec<Erasure>, RecordError> {
    let rows = erasure::Entity::find()
        .filter(erasure::COLUMN.practice_id.eq(practice.as_str()))
        .filter(erasure::COLUMN.position.gt(after))
        .order_by_asc(erasure::Column::Position)
        .limit(limit)
        .all(db)
        .await?;
    rows.into_iter().map(read).collect()
}

/// The keys among `keys` that were erased after a position.
pub(crate) async fn keys_after(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    after: i64,
    keys: &[KeyDigest],
) -> Result<HashSet<KeyDigest>, RecordError> {
    let mut erased = HashSet::new();
    for keys in sorted_chunks(keys) {
        let engine = db.get_database_backend();
        let mut binds = Binds::new(engine);
        let (practice, after) = (binds.bind(practice.as_str()), binds.bind(after));
        let keys = binds.among(keys.iter().map(|key| key.to_vec().into()).collect());
        let sql = format!(
            "SELECT digest FROM erasure \
             WHERE practice_id = {practice} AND position > {after} AND digest {keys}"
        );
        let statement = Statement::from_sql_and_values(engine, sql, binds.into_values());
        for row in db.query_all_raw(statement).await? {
            erased.insert(read_digest(&row.try_get::<Vec<u8>>("", "digest")?)?);
        }
    }
    Ok(erased)
}

/// Deletes the oldest erasures before `before`, of all practices, at most `limit`. Returns
/// their number.
pub(crate) async fn delete_before(
    db: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, RecordError> {
    remove_oldest(db, ("erasure", "erased_at"), before, limit).await
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
