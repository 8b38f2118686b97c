//! The table of named subscriptions.

use concord_core::caller::{PracticeId, Product};
use concord_proto::pb::records::{EchoMode, RecordKind};
use sea_orm::{
    Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _},
};

use super::{
    entities::feed_subscription as subscription,
    stored::{Stored as _, from_json, to_json},
};
use crate::{
    domain::{
        filter::Filter,
        resume_point::ResumePoint,
        subscription::{Subscription, SubscriptionKey},
    },
    error::RecordError,
};

/// One subscription.
pub(crate) async fn get(
    db: &impl ConnectionTrait,
    key: &SubscriptionKey,
) -> Result<Option<Subscription>, RecordError> {
    let row = subscription::Entity::find_by_id(primary_key(key)).one(db).await?;
    row.map(from_row).transpose()
}

/// One subscription, locked until the end of the transaction.
pub(crate) async fn lock(
    db: &impl ConnectionTrait,
    key: &SubscriptionKey,
) -> Result<Option<Subscription>, RecordError> {
    let row = subscription::Entity::find_by_id(primary_key(key)).lock_exclusive().one(db).await?;
    row.map(from_row).transpose()
}

/// Inserts a new subscription.
///
/// # Errors
///
/// [`RecordError::WriteConflict`] if another stream has created it meanwhile.
pub(crate) async fn insert(
    db: &impl ConnectionTrait,
    new: &Subscription,
) -> Result<(), RecordError> {
    let inserted = subscription::Entity::insert(to_row(new)?.into_active_model())
        .on_conflict_do_nothing()
        .exec_without_returning(db)
        .await?;
    match inserted {
        sea_orm::TryInsertResult::Inserted(1..) => Ok(()),
        _ => Err(RecordError::WriteConflict),
    }
}

/// Updates a subscription that is [locked](lock).
pub(crate) async fn update(
    db: &impl ConnectionTrait,
    changed: &Subscription,
) -> Result<(), RecordError> {
    use sea_orm::ActiveModelTrait as _;
    let row = to_row(changed)?.into_active_model().reset_all();
    subscription::Entity::update(row).exec(db).await?;
    Ok(())
}

/// Deletes a subscription. Returns false if it did not exist.
pub(crate) async fn delete(
    db: &impl ConnectionTrait,
    key: &SubscriptionKey,
) -> Result<bool, RecordError> {
    let deleted = subscription::Entity::delete_by_id(primary_key(key)).exec(db).await?;
    Ok(deleted.rows_affected > 0)
}

/// The number of subscriptions of a product in a practice, or for all practices.
pub(crate) async fn count(
    db: &impl ConnectionTrait,
    key: &SubscriptionKey,
) -> Result<u64, RecordError> {
    let (product, practice, ..) = primary_key(key);
    let found = subscription::Entity::find()
        .filter(subscription::COLUMN.product.eq(product))
        .filter(subscription::COLUMN.practice_id.eq(practice));
    Ok(found.count(db).await?)
}

/// A page of the subscriptions of `products` after the key `after`, in the order of keys
/// (keyset pagination). With a practice: those of the practice, and those for all
/// practices.
pub(crate) async fn page(
    db: &impl ConnectionTrait,
    products: &[Product],
    practice: Option<&PracticeId>,
    after: Option<&(String, String, String, String)>,
    limit: u64,
) -> Result<Vec<Subscription>, RecordError> {
    use subscription::Column;
    let mut query = subscription::Entity::find()
        .filter(subscription::COLUMN.product.is_in(products.iter().map(ToString::to_string)));
    if let Some(practice) = practice {
        query = query
            .filter(subscription::COLUMN.practice_id.is_in([practice.to_string(), String::new()]));
    }
    let order = [Column::Product, Column::PracticeId, Column::Account, Column::Name];
    if let Some((product, practice, account, name)) = after {
        let key = Expr::tuple(order.map(Expr::col));
        let values = [product, practice, account, name];
        let last = Expr::tuple(values.map(|value| Expr::val(value.as_str())));
        query = query.filter(Condition::all().add(key.gt(last)));
    }
    for column in order {
        query = query.order_by_asc(column);
    }
    let rows = query.limit(limit).all(db).await?;
    rows.into_iter().map(from_row).collect()
}

fn primary_key(key: &SubscriptionKey) -> (String, String, String, String) {
    let practice = key.practice.as_ref().map(ToString::to_string).unwrap_or_default();
    (key.product.to_string(), practice, key.account.to_string(), key.name.clone())
}

/// The key that the next page starts after.
pub(crate) fn page_key(key: &SubscriptionKey) -> (String, String, String, String) {
    primary_key(key)
}

fn to_row(subscription: &Subscription) -> Result<subscription::Model, RecordError> {
    let (product, practice_id, account, name) = primary_key(&subscription.key);
    let Filter { echo, kinds, linked_only, practices } = &subscription.filter;
    let kinds: Vec<String> = kinds.iter().map(RecordKind::stored).collect();
    let practices: Vec<&str> = practices.iter().map(PracticeId::as_str).collect();
    let snapshot = subscription.acked.snapshot.as_ref();
    Ok(subscription::Model {
        product,
        practice_id,
        account,
        name,
        id: subscription.id,
        session: subscription.session,
        start_pos: subscription.start,
        acked_pos: subscription.acked.position,
        acked_walk: snapshot.map(to_json).transpose()?,
        acked_at: subscription.acked_at,
        delivered_pos: subscription.delivered,
        seen_pos: subscription.seen,
        echo: echo.stored(),
        kinds: to_json(&kinds)?,
        linked_only: *linked_only,
        practices: to_json(&practices)?,
        created_at: subscription.created_at,
        connected_at: subscription.connected_at,
        active_until: subscription.active_until,
        connection_since: subscription.connection_since,
    })
}

fn from_row(row: subscription::Model) -> Result<Subscription, RecordError> {
    let corrupt = |_| RecordError::Corrupt("a subscription's key");
    let practice = Some(row.practice_id.as_str()).filter(|practice| !practice.is_empty());
    let key = SubscriptionKey {
        product: row.product.parse().map_err(corrupt)?,
        practice: practice.map(str::parse).transpose().map_err(corrupt)?,
        account: row.account.parse().map_err(corrupt)?,
        name: row.name,
    };
    let kinds: Vec<String> = from_json(&row.kinds)?;
    let practices: Vec<String> = from_json(&row.practices)?;
    let practices = practices.iter().map(|practice| practice.parse());
    let filter = Filter {
        echo: EchoMode::read(&row.echo)?,
        kinds: kinds.iter().map(|kind| RecordKind::read(kind)).collect::<Result<_, _>>()?,
        linked_only: row.linked_only,
        practices: practices.collect::<Result<_, _>>().map_err(corrupt)?,
    };
    let snapshot = row.acked_walk.as_deref().map(from_json).transpose()?;
    Ok(Subscription {
        key,
        id: row.id,
        session: row.session,
        start: row.start_pos,
        acked: ResumePoint { position: row.acked_pos, snapshot },
        acked_at: row.acked_at,
        delivered: row.delivered_pos,
        seen: row.seen_pos,
        filter,
        created_at: row.created_at,
        connected_at: row.connected_at,
        active_until: row.active_until,
        connection_since: row.connection_since,
    })
}
