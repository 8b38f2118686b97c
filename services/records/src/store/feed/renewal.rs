//! A feed that begins anew after its database was restored from a backup.

use sea_orm::{ConnectionTrait, Statement};
use shared::ids;

use super::retention;
use crate::error::RecordError;

/// Before the beginning of every feed: the place of a subscription that has lost
/// its own.
const NOWHERE: i64 = -1;

/// Gives the feed of every product another epoch and another secret; how many. No
/// cursor from before is taken any longer.
pub(crate) async fn begin_epochs(db: &impl ConnectionTrait) -> Result<u64, RecordError> {
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

/// Takes their places from all subscriptions; how many. Who goes on by the name
/// alone is told that the changes after the place are not kept, and begins anew.
pub(crate) async fn forget_places(db: &impl ConnectionTrait) -> Result<u64, RecordError> {
    let sql = "UPDATE feed_subscription SET acked_pos = $1, acked_walk = NULL, \
               delivered_pos = $1, seen_pos = $1, session = session + 1, active_until = NULL";
    let engine = db.get_database_backend();
    let forget = Statement::from_sql_and_values(engine, sql, [NOWHERE.into()]);
    Ok(db.execute_raw(forget).await?.rows_affected())
}
