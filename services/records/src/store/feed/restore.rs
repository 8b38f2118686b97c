//! Invalidates cursors and positions after the database was restored from a backup.

use concord_core::ids;
use sea_orm::{ConnectionTrait, Statement};

use super::retention;
use crate::error::RecordError;

/// A position before the start of every feed: that of a reset subscription.
const BEFORE_START: i64 = -1;

/// Renews the epoch and the secret of every product's feed, which invalidates all
/// earlier cursors. Returns the number of feeds.
pub(crate) async fn renew_epochs(db: &impl ConnectionTrait) -> Result<u64, RecordError> {
    let sql = "UPDATE feed_product SET epoch = $2, secret = $3 WHERE product = $1";
    let mut feeds = 0;
    for product in retention::products(db).await? {
        let values = [product.into(), ids::new_uuid().into(), super::secret()?.into()];
        let engine = db.get_database_backend();
        let updated = db.execute_raw(Statement::from_sql_and_values(engine, sql, values)).await?;
        feeds += updated.rows_affected();
    }
    Ok(feeds)
}

/// Resets the positions of all subscriptions, and ends their streams. Returns the number
/// of subscriptions. A subscriber that resumes by the name alone gets `CURSOR_TOO_OLD`,
/// and restarts from a snapshot.
pub(crate) async fn reset_positions(db: &impl ConnectionTrait) -> Result<u64, RecordError> {
    let sql = "UPDATE feed_subscription SET acked_pos = $1, acked_walk = NULL, \
               delivered_pos = $1, seen_pos = $1, session = session + 1, active_until = NULL";
    let engine = db.get_database_backend();
    let reset = Statement::from_sql_and_values(engine, sql, [BEFORE_START.into()]);
    Ok(db.execute_raw(reset).await?.rows_affected())
}
