//! The access log of support: which records support has read, and the reason.

use chrono::{DateTime, Utc};
use concord_core::caller::PracticeId;
use concord_db::insert_all;
use concord_server::SupportAccess;
use sea_orm::{
    ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};
use uuid::Uuid;

use super::entities::support_read;
use crate::error::RecordError;

/// One entry of the access log: a call by support.
#[derive(Clone, Debug)]
pub(crate) struct AccessLogEntry {
    pub(crate) id: Uuid,
    pub(crate) read_at: DateTime<Utc>,
    pub(crate) product: String,
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) rpc: String,
    pub(crate) record_ids: Vec<String>,
    pub(crate) reason: String,
}

/// Inserts the entry of one call.
pub(crate) async fn insert(
    db: &impl ConnectionTrait,
    id: Uuid,
    read_at: DateTime<Utc>,
    access: SupportAccess,
) -> Result<(), RecordError> {
    let SupportAccess { caller, rpc, record_ids, reason, call: _ } = access;
    let row = support_read::Model {
        practice_id: caller.practice.to_string(),
        read_id: id,
        read_at,
        product: caller.product.to_string(),
        account: caller.account.to_string(),
        user_id: caller.user,
        rpc,
        record_ids: record_ids.join(" "),
        reason,
    };
    Ok(insert_all(db, vec![row.into_active_model()]).await?)
}

/// A page of the calls in a practice before the entry `before`, the latest first (keyset
/// pagination).
pub(crate) async fn page(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    before: Option<Uuid>,
    limit: u64,
) -> Result<Vec<AccessLogEntry>, RecordError> {
    let mut query =
        support_read::Entity::find().filter(support_read::COLUMN.practice_id.eq(practice.as_str()));
    if let Some(before) = before {
        query = query.filter(support_read::COLUMN.read_id.lt(before));
    }
    let rows = query.order_by_desc(support_read::Column::ReadId).limit(limit).all(db).await?;
    Ok(rows.into_iter().map(from_row).collect())
}

fn from_row(row: support_read::Model) -> AccessLogEntry {
    let support_read::Model {
        practice_id: _,
        read_id,
        read_at,
        product,
        account,
        user_id,
        rpc,
        record_ids,
        reason,
    } = row;
    let record_ids = record_ids.split_whitespace().map(str::to_owned).collect();
    AccessLogEntry {
        id: read_id,
        read_at,
        product,
        account,
        user: user_id,
        rpc,
        record_ids,
        reason,
    }
}
