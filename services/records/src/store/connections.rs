//! Connections: the products that are connected to a practice.

use chrono::{DateTime, Utc};
use concord_core::{caller::Product, ids};
use concord_db::TenantDb;
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, Select, sea_query::OnConflict,
};

use super::{
    entities::{connection, feed_product},
    feed,
};
use crate::error::RecordError;

/// A connected product.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) product: String,
    pub(crate) connected_at: DateTime<Utc>,
    pub(crate) connected_by: String,
}

impl From<connection::Model> for Connection {
    fn from(row: connection::Model) -> Self {
        let connection::Model { practice_id: _, product, connected_at, connected_by } = row;
        Self { product, connected_at, connected_by }
    }
}

/// The connections of the practice, by product name.
pub(crate) async fn list(
    db: TenantDb<'_, impl ConnectionTrait>,
) -> Result<Vec<Connection>, RecordError> {
    let query = db.select::<connection::Entity>().order_by_asc(connection::Column::Product);
    let rows = query.all(db.connection()).await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The names of the connected products, sorted.
pub(crate) async fn products(
    db: TenantDb<'_, impl ConnectionTrait>,
) -> Result<Vec<String>, RecordError> {
    Ok(list(db).await?.into_iter().map(|connection| connection.product).collect())
}

/// Since when the product is connected to the practice; `None` if it is not.
pub(crate) async fn connected_at(
    db: TenantDb<'_, impl ConnectionTrait>,
    product: &Product,
) -> Result<Option<DateTime<Utc>>, RecordError> {
    let row = of_product(db, product).one(db.connection()).await?;
    Ok(row.map(|row| row.connected_at))
}

/// True if the product is connected to the practice.
pub(crate) async fn is_connected(
    db: TenantDb<'_, impl ConnectionTrait>,
    product: &Product,
) -> Result<bool, RecordError> {
    Ok(of_product(db, product).one(db.connection()).await?.is_some())
}

fn of_product(
    db: TenantDb<'_, impl ConnectionTrait>,
    product: &Product,
) -> Select<connection::Entity> {
    db.select::<connection::Entity>().filter(connection::COLUMN.product.eq(product.as_str()))
}

/// Connects the product and creates its feed. Idempotent.
pub(crate) async fn connect(
    db: TenantDb<'_, impl ConnectionTrait>,
    product: &Product,
    user: &str,
    now: DateTime<Utc>,
) -> Result<Connection, RecordError> {
    let new = feed_product::Model {
        product: product.to_string(),
        epoch: ids::new_uuid(),
        head: 0,
        floor: 1,
        last_practice: String::new(),
        secret: feed::secret()?,
        floor_change: None,
    };
    feed_product::Entity::insert(new.into_active_model())
        .on_conflict(OnConflict::column(feed_product::Column::Product).do_nothing().to_owned())
        .exec_without_returning(db.connection())
        .await?;
    let row = connection::Model {
        practice_id: db.practice().to_string(),
        product: product.to_string(),
        connected_at: now,
        connected_by: user.to_owned(),
    };
    let key = [connection::Column::PracticeId, connection::Column::Product];
    connection::Entity::insert(row.into_active_model())
        .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
        .exec_without_returning(db.connection())
        .await?;
    let row = of_product(db, product).one(db.connection()).await?;
    row.map(Into::into).ok_or(RecordError::WriteConflict)
}

/// The open transactions that have read the connections: their changes go to the products
/// that they found. Empty on SQLite, where writers are serialised.
pub(crate) async fn open_readers(db: &impl ConnectionTrait) -> Result<Vec<String>, RecordError> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(Vec::new());
    }
    // A transaction holds a lock on each table that it has read until it ends.
    let sql = "SELECT l.virtualtransaction AS reader FROM pg_locks l \
               JOIN pg_database d ON d.oid = l.database \
               JOIN pg_stat_activity a ON a.pid = l.pid AND a.application_name LIKE 'concord%' \
               WHERE l.locktype = 'relation' AND l.relation = 'connection'::regclass \
                 AND d.datname = current_database() AND l.pid <> pg_backend_pid()";
    let rows = concord_db::query(db, |_| sql.to_owned()).await?;
    Ok(rows.iter().map(|row| row.try_get("", "reader")).collect::<Result<_, _>>()?)
}

/// Disconnects the product. Its links stay.
pub(crate) async fn disconnect(
    db: TenantDb<'_, impl ConnectionTrait>,
    product: &Product,
) -> Result<(), RecordError> {
    db.delete::<connection::Entity>()
        .filter(connection::COLUMN.product.eq(product.as_str()))
        .exec(db.connection())
        .await?;
    Ok(())
}
