//! Invalidates cursors and positions after the database was restored from a backup.

use concord_core::ids;
use sea_orm::ConnectionTrait;

use super::retention;
use crate::error::RecordError;

/// A position before the start of every feed: that of a reset subscription.
const BEFORE_START: i64 = -1;

/// Renews the epoch and the secret of every product's feed, which invalidates all
/// earlier cursors. Returns the number of feeds.
pub(crate) async fn renew_epochs(db: &impl ConnectionTrait) -> Result<u64, RecordError> {
    let mut feeds = 0;
    for product in retention::products(db).await? {
        let (epoch, secret) = (ids::new_uuid(), super::secret()?);
        let updated = concord_db::execute(db, |sql| {
            format!(
                "UPDATE feed_product SET epoch = {}, secret = {} WHERE product = {}",
                sql.bind(epoch),
                sql.bind(secret),
                sql.bind(product)
            )
        });
        feeds += updated.await?;
    }
    Ok(feeds)
}

/// Resets the positions of all subscriptions, and ends their streams. Returns the number
/// of subscriptions. A subscriber that resumes by the name alone gets `CURSOR_TOO_OLD`,
/// and restarts from a snapshot.
pub(crate) async fn reset_positions(db: &impl ConnectionTrait) -> Result<u64, RecordError> {
    let sql = format!(
        "UPDATE feed_subscription SET acked_pos = {BEFORE_START}, acked_walk = NULL, \
         delivered_pos = {BEFORE_START}, seen_pos = {BEFORE_START}, session = session + 1, \
         active_until = NULL"
    );
    Ok(concord_db::execute(db, |_| sql).await?)
}
