//! The imports.

use chrono::{DateTime, Utc};
use concord_db::TenantDb;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _,
    ExprTrait as _, IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set, Unchanged, sea_query::Expr,
};
use serde::Serialize;
use uuid::Uuid;

use super::{ImportDb, entities::import};
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
    db: ImportDb<'_, impl ConnectionTrait>,
) -> Result<Option<Import>, ImportError> {
    db.select_import().one(db.connection()).await?.map(from_row).transpose()
}

/// Locks the import until the end of the transaction. SQLite has a single writer and
/// needs no lock.
pub(crate) async fn lock(
    db: ImportDb<'_, impl ConnectionTrait>,
) -> Result<Option<Import>, ImportError> {
    db.select_import().lock_exclusive().one(db.connection()).await?.map(from_row).transpose()
}

/// The number of unsealed imports of the practice.
pub(crate) async fn count_open(db: TenantDb<'_, impl ConnectionTrait>) -> Result<u64, DbErr> {
    db.select::<import::Entity>()
        .filter(import::Column::State.eq(State::Receiving.as_str()))
        .count(db.connection())
        .await
}

/// Increments the number of batches; the batch arrived at `at`.
pub(crate) async fn add_batch(
    db: ImportDb<'_, impl ConnectionTrait>,
    at: DateTime<Utc>,
) -> Result<(), DbErr> {
    db.update_import()
        .col_expr(import::Column::BatchCount, Expr::col(import::Column::BatchCount).add(1))
        .col_expr(import::Column::TouchedAt, Expr::value(at))
        .exec(db.connection())
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
        state: Set(state.as_str().to_owned()),
        sealed_at: Set(sealed.sealed_at),
        ended_at: Set(ended_at),
        note: Set(String::new()),
        ..unchanged(&sealed.key)
    };
    change.update(db).await?;
    Ok(sealed)
}

/// Sets the note that says why an unsealed import does not continue.
pub(crate) async fn set_note(
    db: ImportDb<'_, impl ConnectionTrait>,
    note: &str,
) -> Result<(), DbErr> {
    let change = import::ActiveModel { note: Set(note.to_owned()), ..unchanged(db.key()) };
    change.update(db.connection()).await.map(drop)
}

/// Updates the lifecycle state: all columns except those that the worker updates. It
/// revokes the lease.
pub(crate) async fn update_state(db: &impl ConnectionTrait, import: &Import) -> Result<(), DbErr> {
    let change = import::ActiveModel {
        state: Set(import.state.as_str().to_owned()),
        round: Set(import.round),
        validate_only: Set(import.validate_only),
        cancel_requested: Set(import.cancel_requested),
        ended_before: Set(import.ended_before.map(|state| state.as_str().to_owned())),
        phase: Set(import.phase.as_str().to_owned()),
        position: Set(import.position.clone()),
        note: Set(import.note.clone()),
        batch_count: Set(import.batch_count),
        lease_owner: Set(None),
        lease_expires_at: Set(None),
        touched_at: Set(import.touched_at),
        sealed_at: Set(import.sealed_at),
        ended_at: Set(import.ended_at),
        purged_at: Set(import.purged_at),
        ..unchanged(&import.key)
    };
    change.update(db).await.map(drop)
}

/// An update of the import that changes nothing yet.
fn unchanged(key: &ImportKey) -> import::ActiveModel {
    import::ActiveModel {
        practice_id: Unchanged(key.practice.to_string()),
        id: Unchanged(key.id),
        ..Default::default()
    }
}

/// Requests that the worker of an import stops. A stalled import becomes claimable at
/// once for this.
pub(crate) async fn request_cancel(
    db: ImportDb<'_, impl ConnectionTrait>,
    state: State,
) -> Result<(), DbErr> {
    let mut update =
        db.update_import().col_expr(import::Column::CancelRequested, Expr::value(true));
    if state == State::Stalled {
        let at_once = Expr::value(None::<DateTime<Utc>>);
        update = update.col_expr(import::Column::LeaseExpiresAt, at_once);
    }
    update.exec(db.connection()).await.map(drop)
}

/// Whether a cancellation was requested.
pub(crate) async fn is_cancelled(db: ImportDb<'_, impl ConnectionTrait>) -> Result<bool, DbErr> {
    let update: Option<bool> = db
        .select_import()
        .select_only()
        .column(import::Column::CancelRequested)
        .into_tuple()
        .one(db.connection())
        .await?;
    Ok(update.unwrap_or_default())
}

/// The running import of the practice.
pub(crate) async fn find_running(
    db: TenantDb<'_, impl ConnectionTrait>,
) -> Result<Option<Uuid>, DbErr> {
    let running = [State::Resolving.as_str(), State::Applying.as_str()];
    db.select::<import::Entity>()
        .filter(import::Column::State.is_in(running))
        .select_only()
        .column(import::Column::Id)
        .into_tuple()
        .one(db.connection())
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
    db: TenantDb<'_, impl ConnectionTrait>,
    filter: &ListFilter,
    before: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Import>, ImportError> {
    let mut query = db.select::<import::Entity>();
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
    let rows = query.order_by_desc(import::Column::Id).limit(limit).all(db.connection()).await?;
    rows.into_iter().map(from_row).collect()
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
