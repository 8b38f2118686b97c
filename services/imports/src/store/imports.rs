//! The imports.

use chrono::{DateTime, Utc};
use concord_core::caller::PracticeId;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _,
    ExprTrait as _, IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QuerySelect as _,
    Select, sea_query::Expr,
};
use serde::Serialize;
use uuid::Uuid;

use super::entities::import;
use crate::{
    domain::{
        enums::State,
        import::{Expected, Import, ImportKey},
    },
    error::ImportError,
};

/// Inserts a new import.
pub(crate) async fn insert(db: &impl ConnectionTrait, import: Import) -> Result<(), DbErr> {
    let row = to_row(import).into_active_model();
    import::Entity::insert(row).exec_without_returning(db).await.map(drop)
}

/// Finds an import of the practice.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<Option<Import>, ImportError> {
    by_key(key).one(db).await?.map(from_row).transpose()
}

/// Locks the import until the end of the transaction. SQLite has a single writer and
/// needs no lock.
pub(crate) async fn lock(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<Option<Import>, ImportError> {
    by_key(key).lock_exclusive().one(db).await?.map(from_row).transpose()
}

/// The number of unsealed imports of the practice.
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

/// Increments the number of batches; the batch arrived at `at`.
pub(crate) async fn add_batch(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    at: DateTime<Utc>,
) -> Result<(), DbErr> {
    import::Entity::update_many()
        .col_expr(import::Column::BatchCount, Expr::col(import::Column::BatchCount).add(1))
        .col_expr(import::Column::TouchedAt, Expr::value(at))
        .filter(import::Column::PracticeId.eq(key.practice.as_str()))
        .filter(import::Column::Id.eq(key.id))
        .exec(db)
        .await
        .map(drop)
}

/// Seals the import: it waits for a worker, or is completed if it is empty.
pub(crate) async fn seal(
    db: &impl ConnectionTrait,
    import: Import,
    at: DateTime<Utc>,
    empty: bool,
) -> Result<Import, DbErr> {
    let state = if empty { State::Completed } else { State::Sealed };
    let ended_at = empty.then_some(at);
    let sealed = Import { state, sealed_at: Some(at), ended_at, note: String::new(), ..import };
    let change = import::ActiveModel {
        practice_id: sea_orm::Unchanged(sealed.key.practice.to_string()),
        id: sea_orm::Unchanged(sealed.key.id),
        state: sea_orm::Set(state.as_str().to_owned()),
        sealed_at: sea_orm::Set(sealed.sealed_at),
        ended_at: sea_orm::Set(ended_at),
        note: sea_orm::Set(String::new()),
        ..Default::default()
    };
    change.update(db).await?;
    Ok(sealed)
}

/// Sets the note that says why an unsealed import does not continue.
pub(crate) async fn set_note(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    note: &str,
) -> Result<(), DbErr> {
    let change = import::ActiveModel {
        practice_id: sea_orm::Unchanged(key.practice.to_string()),
        id: sea_orm::Unchanged(key.id),
        note: sea_orm::Set(note.to_owned()),
        ..Default::default()
    };
    change.update(db).await.map(drop)
}

/// Updates the lifecycle state: all columns except those that the worker updates. It
/// revokes the lease.
pub(crate) async fn update_state(db: &impl ConnectionTrait, import: &Import) -> Result<(), DbErr> {
    let change = import::ActiveModel {
        practice_id: sea_orm::Unchanged(import.key.practice.to_string()),
        id: sea_orm::Unchanged(import.key.id),
        state: sea_orm::Set(import.state.as_str().to_owned()),
        round: sea_orm::Set(import.round),
        validate_only: sea_orm::Set(import.validate_only),
        cancel_requested: sea_orm::Set(import.cancel_requested),
        ended_before: sea_orm::Set(import.ended_before.map(|state| state.as_str().to_owned())),
        phase: sea_orm::Set(import.phase.as_str().to_owned()),
        position: sea_orm::Set(import.position.clone()),
        note: sea_orm::Set(import.note.clone()),
        batch_count: sea_orm::Set(import.batch_count),
        lease_owner: sea_orm::Set(None),
        lease_expires_at: sea_orm::Set(None),
        touched_at: sea_orm::Set(import.touched_at),
        sealed_at: sea_orm::Set(import.sealed_at),
        ended_at: sea_orm::Set(import.ended_at),
        purged_at: sea_orm::Set(import.purged_at),
        ..Default::default()
    };
    change.update(db).await.map(drop)
}

/// Requests that the worker of an import stops. A stalled import becomes claimable at
/// once for this.
pub(crate) async fn request_cancel(
    db: &impl ConnectionTrait,
    key: &ImportKey,
    state: State,
) -> Result<(), DbErr> {
    let mut update =
        import::Entity::update_many().col_expr(import::Column::CancelRequested, Expr::value(true));
    if state == State::Stalled {
        let at_once = Expr::value(None::<DateTime<Utc>>);
        update = update.col_expr(import::Column::LeaseExpiresAt, at_once);
    }
    update
        .filter(import::Column::PracticeId.eq(key.practice.as_str()))
        .filter(import::Column::Id.eq(key.id))
        .exec(db)
        .await
        .map(drop)
}

/// Whether a cancellation was requested.
pub(crate) async fn is_cancelled(
    db: &impl ConnectionTrait,
    key: &ImportKey,
) -> Result<bool, DbErr> {
    let update: Option<bool> = by_key(key)
        .select_only()
        .column(import::Column::CancelRequested)
        .into_tuple()
        .one(db)
        .await?;
    Ok(update.unwrap_or_default())
}

/// The running import of the practice.
pub(crate) async fn find_running(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
) -> Result<Option<Uuid>, DbErr> {
    let running = [State::Resolving.as_str(), State::Applying.as_str()];
    import::Entity::find()
        .filter(import::Column::PracticeId.eq(practice.as_str()))
        .filter(import::Column::State.is_in(running))
        .select_only()
        .column(import::Column::Id)
        .into_tuple()
        .one(db)
        .await
}

/// The filter of the list of imports.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ListFilter {
    pub(crate) product: Option<String>,
    /// Any state if it is empty.
    pub(crate) states: Vec<String>,
    pub(crate) created_since: Option<DateTime<Utc>>,
}

/// The imports of a practice before an id, newest first.
pub(crate) async fn list(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    filter: &ListFilter,
    before: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Import>, ImportError> {
    use sea_orm::QueryOrder as _;
    let mut query = import::Entity::find().filter(import::Column::PracticeId.eq(practice.as_str()));
    if let Some(product) = &filter.product {
        query = query.filter(import::Column::Product.eq(product.as_str()));
    }
    if !filter.states.is_empty() {
        query = query.filter(import::Column::State.is_in(filter.states.iter().map(String::as_str)));
    }
    if let Some(since) = filter.created_since {
        query = query.filter(import::Column::CreatedAt.gte(since));
    }
    if let Some(before) = before {
        query = query.filter(import::Column::Id.lt(before));
    }
    let rows = query.order_by_desc(import::Column::Id).limit(limit).all(db).await?;
    rows.into_iter().map(from_row).collect()
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
        validate_only,
        expected,
        cancel_requested,
        ended_before,
        phase,
        position,
        note,
        batch_count,
        possible_duplicates,
        created_at,
        touched_at,
        sealed_at,
        ended_at,
        purged_at,
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
        validate_only,
        expected: expected.map(|expected| expected.to_json()),
        cancel_requested,
        ended_before: ended_before.map(|state| state.as_str().to_owned()),
        phase: phase.as_str().to_owned(),
        position,
        note,
        batch_count,
        possible_duplicates,
        lease_owner: None,
        lease_token: 0,
        lease_expires_at: None,
        created_at,
        touched_at,
        sealed_at,
        ended_at,
        purged_at,
    }
}

pub(super) fn from_row(row: import::Model) -> Result<Import, ImportError> {
    let practice = row.practice_id.parse().map_err(|_| ImportError::Corrupt("practice id"))?;
    let expected = row.expected.as_deref().map(Expected::of_json).transpose();
    Ok(Import {
        key: ImportKey { practice, id: row.id },
        product: row.product,
        account: row.account,
        label: row.label,
        created_by: row.created_by,
        state: row.state.parse()?,
        round: row.round,
        validate_only: row.validate_only,
        expected: expected.map_err(|_| ImportError::Corrupt("declared content"))?,
        cancel_requested: row.cancel_requested,
        ended_before: row.ended_before.as_deref().map(str::parse).transpose()?,
        phase: row.phase.parse()?,
        position: row.position,
        note: row.note,
        batch_count: row.batch_count,
        possible_duplicates: row.possible_duplicates,
        created_at: row.created_at,
        touched_at: row.touched_at,
        sealed_at: row.sealed_at,
        ended_at: row.ended_at,
        purged_at: row.purged_at,
    })
}
