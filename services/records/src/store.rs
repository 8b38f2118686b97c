//! The data access layer. The only module that uses SeaORM's entities: its functions take
//! and return the structs of [`domain`](crate::domain).
//!
//! A function takes a [`TenantDb`], whose queries filter by the practice (the tenant). Only
//! background jobs ([`due`], [`expiry`]), the feed, the list of subscriptions and batch loads
//! query several practices, and take a connection. A function that writes takes the
//! transaction of [`Database::write`](concord_db::Database::write).
//!
//! Entities serve single rows and reads by key. Closures that write the text and bind its
//! parameters ([`Binds`](concord_db::Binds)) serve sets, and SQL that entities cannot
//! express. Nothing else is used.

pub(crate) mod access_log;
pub(crate) mod audit;
pub(crate) mod batch_load;
mod bulk;
pub(crate) mod changes;
pub(crate) mod clients;
mod conditions;
pub(crate) mod connections;
pub(crate) mod contacts;
pub(crate) mod due;
mod entities;
pub(crate) mod entries;
pub(crate) mod erasures;
pub(crate) mod expiry;
pub(crate) mod feed;
pub(crate) mod fences;
pub(crate) mod images;
pub(crate) mod links;
pub(crate) mod match_keys;
pub(crate) mod persons;
pub(crate) mod requests;
pub(crate) mod search;
mod stored;
pub(crate) mod subscriptions;
pub(crate) mod trace;
mod unique_keys;

use concord_db::{StatementBatch, TenantDb};
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
    batch.run(db).await.map_err(unique_keys::classify)
}

/// Executes the statements that `fill` adds, without deferring them.
///
/// # Errors
///
/// As [`flush`].
pub(crate) async fn write_now(
    db: TenantDb<'_, impl ConnectionTrait>,
    fill: impl FnOnce(&mut StatementBatch) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let mut batch = db.batch();
    fill(&mut batch)?;
    flush(batch, db.connection()).await
}

#[cfg(test)]
mod tests;
