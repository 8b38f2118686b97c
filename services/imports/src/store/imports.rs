//! Imports.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _,
    ExprTrait as _, IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _,
    Select, sea_query::Expr,
};
use shared::caller::PracticeId;

use super::entities::import;
use crate::{
    domain::{
        import::{Import, ImportKey},
        words::State,
    },
    error::ImportError,
};

/// Inserts a new import.
pub(crate) async fn insert(db: &impl ConnectionTrait, import: Import) -> Result<(), DbErr> {
    let row = to_row(import).into_active_model();
    import::Entity::insert(row).exec_without_returning(db).await.map(drop)
}

/// The import, when the practice has it.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<Option<Import>, ImportError> {
    by_key(key).one(db).await?.map(from_row).transpose()
}

/// The import, locked until the end of the transaction. On SQLite there is one
/// writer, and no lock to take.
pub(crate) async fn lock(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<Option<Import>, ImportError> {
    by_key(key).lock_exclusive().one(db).await?.map(from_row).transpose()
}

/// How many imports of the practice may still receive batches.
pub(crate) async fn count_open(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
) -> Result<u64, DbErr> {
    import::Entity::find()
        .filter(import::Column::PracticeId.eq(practice.as_str()))
        .filter(import::Column::State.eq(State::Receiving.as_str()))
        .count(db)
        .await
}

/// Counts one more batch.
pub(crate) async fn add_batch(db: &impl ConnectionTrait, key: &ImportKey) -> Result<(), DbErr> {
    import::Entity::update_many()
        .col_expr(import::Column::BatchCount, Expr::col(import::Column::BatchCount).add(1))
        .filter(import::Column::PracticeId.eq(key.practice.as_str()))
        .filter(import::Column::Id.eq(key.id))
        .exec(db)
        .await
        .map(drop)
}

/// Takes no further batch: the import waits for a worker, or has ended when it
/// is empty.
pub(crate) async fn seal(
    db: &impl ConnectionTrait,
    import: Import,
    at: DateTime<Utc>,
    empty: bool,
) -> Result<Import, DbErr> {
    let state = if empty { State::Completed } else { State::Sealed };
    let ended_at = empty.then_some(at);
    let sealed = Import { state, sealed_at: Some(at), ended_at, ..import };
    let change = import::ActiveModel {
        practice_id: sea_orm::Unchanged(sealed.key.practice.to_string()),
        id: sea_orm::Unchanged(sealed.key.id),
        state: sea_orm::Set(state.as_str().to_owned()),
        sealed_at: sea_orm::Set(sealed.sealed_at),
        ended_at: sea_orm::Set(ended_at),
        ..Default::default()
    };
    change.update(db).await?;
    Ok(sealed)
}

fn by_key(key: &ImportKey) -> Select<import::Entity> {
    import::Entity::find()
        .filter(import::Column::PracticeId.eq(key.practice.as_str()))
        .filter(import::Column::Id.eq(key.id))
}

fn to_row(import: Import) -> import::Model {
    let Import {
        key: ImportKey { practice, id },
        product,
        account,
        label,
        created_by,
        state,
        round,
        phase,
        position,
        note,
        batch_count,
        created_at,
        sealed_at,
        ended_at,
    } = import;
    import::Model {
        practice_id: practice.to_string(),
        id,
        product,
        account,
        label,
        created_by,
        state: state.as_str().to_owned(),
        round,
        phase: phase.as_str().to_owned(),
        position,
        note,
        batch_count,
        lease_owner: None,
        lease_token: 0,
        lease_expires_at: None,
        created_at,
        sealed_at,
        ended_at,
    }
}

pub(super) fn from_row(row: import::Model) -> Result<Import, ImportError> {
    let practice =
        row.practice_id.parse().map_err(|_| ImportError::Corrupt("the name of a practice"))?;
    Ok(Import {
        key: ImportKey { practice, id: row.id },
        product: row.product,
        account: row.account,
        label: row.label,
        created_by: row.created_by,
        state: row.state.parse()?,
        round: row.round,
        phase: row.phase.parse()?,
        position: row.position,
        note: row.note,
        batch_count: row.batch_count,
        created_at: row.created_at,
        sealed_at: row.sealed_at,
        ended_at: row.ended_at,
    })
}
