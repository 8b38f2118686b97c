//! Connections: the products that are connected to a practice.

use chrono::{DateTime, Utc};
use concord_core::{
    caller::{PracticeId, Product},
    ids,
};
use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, Statement, sea_query::OnConflict,
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
    db: &impl ConnectionTrait,
    practice: &PracticeId,
) -> Result<Vec<Connection>, RecordError> {
    let rows = connection::Entity::find()
        .filter(connection::COLUMN.practice_id.eq(practice.as_str()))
        .order_by_asc(connection::Column::Product)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The names of the connected products, sorted.
pub(crate) async fn products(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
) -> Result<Vec<String>, RecordError> {
    Ok(list(db, practice).await?.into_iter().map(|connection| connection.product).collect())
}

/// Since when the product is connected to the practice; `None` if it is not.
pub(crate) async fn connected_at(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    product: &Product,
) -> Result<Option<DateTime<Utc>>, RecordError> {
    let key = (practice.to_string(), product.to_string());
    let row = connection::Entity::find_by_id(key).one(db).await?;
    Ok(row.map(|row| row.connected_at))
}

/// True if the product is connected to the practice.
pub(crate) async fn is_connected(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    product: &Product,
) -> Result<bool, RecordError> {
    let key = (practice.to_string(), product.to_string());
    Ok(connection::Entity::find_by_id(key).one(db).await?.is_some())
}

/// Connects the product and creates its feed. Idempotent.
pub(crate) async fn connect(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
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
        .exec_without_returning(db)
        .await?;
    let row = connection::Model {
        practice_id: practice.to_string(),
        product: product.to_string(),
        connected_at: now,
        connected_by: user.to_owned(),
    };
    let key = [connection::Column::PracticeId, connection::Column::Product];
    connection::Entity::insert(row.clone().into_active_model())
        .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
        .exec_without_returning(db)
        .await?;
    let key = (row.practice_id.clone(), row.product.clone());
    let row = connection::Entity::find_by_id(key).one(db).await?;
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
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    Ok(rows.iter().map(|row| row.try_get("", "reader")).collect::<Result<_, _>>()?)
}

/// Disconnects the product. Its links stay.
pub(crate) async fn disconnect(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    product: &Product,
) -> Result<(), RecordError> {
    let key = (practice.to_string(), product.to_string());
    connection::Entity::delete_by_id(key).exec(db).await?;
    Ok(())
}
