//! The tables. The only module that names SeaORM's entities: rows go in and out
//! as the structs of [`domain`](crate::domain).
//!
//! Every function takes the practice, and every query carries it. A function
//! that writes takes the transaction of [`Database::write`](shared::db::Database::write).

pub(crate) mod audit;
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
mod keys;
pub(crate) mod likeness;
pub(crate) mod links;
pub(crate) mod persons;
pub(crate) mod requests;
pub(crate) mod search;
pub(crate) mod subscriptions;
pub(crate) mod support_reads;
mod taken;
mod text;
pub(crate) mod tombstones;
pub(crate) mod trace;

use sea_orm::ConnectionTrait;
use shared::db::Writes;

use crate::error::RecordError;

/// Sends what waits to be written.
///
/// # Errors
///
/// [`RecordError::Taken`] when a unique key is used already; the transaction is
/// lost then.
pub(crate) async fn send(writes: Writes, db: &impl ConnectionTrait) -> Result<(), RecordError> {
    writes.run(db).await.map_err(taken::by)
}

/// Writes at once what `fill` adds.
///
/// # Errors
///
/// As [`send`].
pub(crate) async fn write_now(
    db: &impl ConnectionTrait,
    fill: impl FnOnce(&mut Writes) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let mut writes = Writes::new(db.get_database_backend());
    fill(&mut writes)?;
    send(writes, db).await
}

#[cfg(test)]
mod tests;
