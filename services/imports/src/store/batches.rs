//! The batches of an import and their receipts.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::{ImportDb, entities::batch};
use crate::{
    domain::{batch::KindCounts, import::Receipt},
    error::ImportError,
};

/// Inserts the receipt of a batch.
pub(crate) async fn insert(
    db: ImportDb<'_, impl ConnectionTrait>,
    receipt: &Receipt,
) -> Result<(), DbErr> {
    let Receipt { import_id, ordinal, round, batch_key, sha256, size_bytes, counts, staged_at } =
        receipt;
    let row = batch::Model {
        practice_id: db.key().practice.to_string(),
        import_id: *import_id,
        ordinal: *ordinal,
        batch_key: batch_key.clone(),
        sha256: sha256.to_vec(),
        size_bytes: *size_bytes,
        clients: counts.clients,
        contacts: counts.contacts,
        addresses: counts.addresses,
        unreadable: counts.unreadable,
        round: *round,
        staged_at: *staged_at,
    };
    batch::Entity::insert(row.into_active_model())
        .exec_without_returning(db.connection())
        .await
        .map(drop)
}

/// The receipt of the batch of that key.
pub(crate) async fn by_batch_key(
    db: ImportDb<'_, impl ConnectionTrait>,
    batch_key: &str,
) -> Result<Option<Receipt>, ImportError> {
    let row = db
        .select_batches()
        .filter(batch::Column::BatchKey.eq(batch_key))
        .one(db.connection())
        .await?;
    row.map(from_row).transpose()
}

/// The receipts of the batches of a round, in order.
pub(crate) async fn of_round(
    db: ImportDb<'_, impl ConnectionTrait>,
    round: i64,
) -> Result<Vec<Receipt>, ImportError> {
    let rows = db
        .select_batches()
        .filter(batch::Column::Round.eq(round))
        .order_by_asc(batch::Column::Ordinal)
        .all(db.connection())
        .await?;
    rows.into_iter().map(from_row).collect()
}

/// Ordinal and round of the batches of all rounds after the first, in order.
pub(crate) async fn of_retries(
    db: ImportDb<'_, impl ConnectionTrait>,
) -> Result<Vec<(i64, i64)>, DbErr> {
    db.select_batches()
        .filter(batch::Column::Round.gt(1))
        .order_by_asc(batch::Column::Ordinal)
        .select_only()
        .columns([batch::Column::Ordinal, batch::Column::Round])
        .into_tuple()
        .all(db.connection())
        .await
}

/// Removes the batches of a round and their records.
pub(crate) async fn remove_round(
    db: ImportDb<'_, impl ConnectionTrait>,
    round: i64,
) -> Result<(), DbErr> {
    db.execute(|sql| {
        format!(
            "DELETE FROM import_staged WHERE {}
             AND batch IN (SELECT ordinal FROM import_batch WHERE {} AND round = {})",
            sql.scope(),
            sql.scope(),
            sql.bind(round)
        )
    })
    .await?;
    let batches = db.execute(|sql| {
        format!("DELETE FROM import_batch WHERE {} AND round = {}", sql.scope(), sql.bind(round))
    });
    batches.await.map(drop)
}

/// The first batch with at least this ordinal.
pub(crate) async fn next(
    db: ImportDb<'_, impl ConnectionTrait>,
    ordinal: i64,
) -> Result<Option<i64>, DbErr> {
    db.select_batches()
        .filter(batch::Column::Ordinal.gte(ordinal))
        .order_by_asc(batch::Column::Ordinal)
        .select_only()
        .column(batch::Column::Ordinal)
        .into_tuple()
        .one(db.connection())
        .await
}

/// The keys of some batches.
pub(crate) async fn keys(
    db: ImportDb<'_, impl ConnectionTrait>,
    ordinals: Vec<i64>,
) -> Result<HashMap<i64, String>, DbErr> {
    let rows: Vec<(i64, String)> = db
        .select_batches()
        .filter(batch::Column::Ordinal.is_in(ordinals))
        .select_only()
        .columns([batch::Column::Ordinal, batch::Column::BatchKey])
        .into_tuple()
        .all(db.connection())
        .await?;
    Ok(rows.into_iter().collect())
}

fn from_row(row: batch::Model) -> Result<Receipt, ImportError> {
    let sha256 = row.sha256.try_into().map_err(|_| ImportError::Corrupt("digest"))?;
    Ok(Receipt {
        import_id: row.import_id,
        ordinal: row.ordinal,
        round: row.round,
        batch_key: row.batch_key,
        sha256,
        size_bytes: row.size_bytes,
        counts: KindCounts {
            clients: row.clients,
            contacts: row.contacts,
            addresses: row.addresses,
            unreadable: row.unreadable,
        },
        staged_at: row.staged_at,
    })
}
