//! The access log of support: which records support has read, and the reason.

use chrono::{DateTime, Utc};
use concord_db::TenantDb;
use concord_server::SupportAccess;
use sea_orm::{
    ConnectionTrait, IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
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
    db: TenantDb<'_, impl ConnectionTrait>,
    id: Uuid,
    read_at: DateTime<Utc>,
    access: SupportAccess,
) -> Result<(), RecordError> {
    let SupportAccess { caller, rpc, record_ids, reason, call: _ } = access;
    let row = support_read::Model {
        practice_id: db.practice().to_string(),
        read_id: id,
        read_at,
        product: caller.product.to_string(),
        account: caller.account.to_string(),
        user_id: caller.user,
        rpc,
        record_ids: record_ids.join(" "),
        reason,
    };
    Ok(db.insert_all(vec![row.into_active_model()]).await?)
}

/// A page of the calls in a practice before the entry `before`, the latest first (keyset
/// pagination).
pub(crate) async fn page(
    db: TenantDb<'_, impl ConnectionTrait>,
    before: Option<Uuid>,
    limit: u64,
) -> Result<Vec<AccessLogEntry>, RecordError> {
    let mut query = db.select::<support_read::Entity>();
    if let Some(before) = before {
        query = query.filter(support_read::COLUMN.read_id.lt(before));
    }
    let query = query.order_by_desc(support_read::Column::ReadId).limit(limit);
    let rows = query.all(db.connection()).await?;
    Ok(rows.into_iter().map(from_row).collect())
}

fn from_row(row: support_read::Model) -> AccessLogEntry {
    AccessLogEntry {
        id: row.read_id,
        read_at: row.read_at,
        product: row.product,
        account: row.account,
        user: row.user_id,
        rpc: row.rpc,
        record_ids: row.record_ids.split_whitespace().map(str::to_owned).collect(),
        reason: row.reason,
    }
}
