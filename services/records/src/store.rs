//! The data access layer. The only module that uses SeaORM's entities: its functions take
//! and return the structs of [`domain`](crate::domain).
//!
//! A query filters by the practice (the tenant), which its function takes. Only background
//! jobs ([`due`], [`expiry`]), the feed and the list of subscriptions query all practices.
//! A function that writes takes the transaction of
//! [`Database::write`](concord_db::Database::write).

pub(crate) mod access_log;
pub(crate) mod audit;
pub(crate) mod batch_load;
pub(crate) mod changes;
pub(crate) mod clients;
pub(crate) mod connections;
pub(crate) mod contacts;
pub(crate) mod due;
mod entities;
pub(crate) mod entries;
pub(crate) mod erasures;
mod expiry;
pub(crate) mod feed;
pub(crate) mod fences;
pub(crate) mod images;
pub(crate) mod links;
pub(crate) mod match_keys;
pub(crate) mod persons;
pub(crate) mod requests;
pub(crate) mod search;
mod sql;
pub(crate) mod subscriptions;
pub(crate) mod trace;

use concord_db::StatementBatch;
use sea_orm::ConnectionTrait;

use crate::error::RecordError;

/// Executes a batch of deferred statements.
///
/// # Errors
///
/// [`RecordError::UniqueViolation`] if a unique key is in use; the transaction is aborted
/// then.
pub(crate) async fn flush(
    batch: StatementBatch,
    db: &impl ConnectionTrait,
) -> Result<(), RecordError> {
    batch.run(db).await.map_err(sql::classify)
}

/// Executes the statements that `fill` adds, without deferring them.
///
/// # Errors
///
/// As [`flush`].
pub(crate) async fn write_now(
    db: &impl ConnectionTrait,
    fill: impl FnOnce(&mut StatementBatch) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let mut batch = StatementBatch::new(db.get_database_backend());
    fill(&mut batch)?;
    flush(batch, db).await
}

#[cfg(test)]
mod tests;
