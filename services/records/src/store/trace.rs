//! Traces a change through the feeds of all products.

use chrono::{DateTime, Utc};
use concord_db::TenantDb;
use sea_orm::{ConnectionTrait, FromQueryResult as _, QueryFilter as _};
use uuid::Uuid;

use super::{
    audit::{self, AuditRow},
    entities::{audit as audit_table, feed_change},
    feed::{self, FeedRow},
};
use crate::error::RecordError;

/// The status of a change in one product's feed.
#[derive(Debug)]
pub(crate) struct FeedStatus {
    pub(crate) product: String,
    /// The change at its position; `None` if it has no position.
    pub(crate) row: Option<FeedRow>,
    pub(crate) sequenced_at: Option<DateTime<Utc>>,
    /// `Some` while the change is pending: whether the product was linked.
    pub(crate) pending: Option<bool>,
}

/// The audit row of one change of the practice.
pub(crate) async fn change(
    db: TenantDb<'_, impl ConnectionTrait>,
    change: Uuid,
) -> Result<Option<AuditRow>, RecordError> {
    let query = db.select::<audit_table::Entity>();
    let query = query.filter(audit_table::COLUMN.change_id.eq(change));
    let row = query.one(db.connection()).await?;
    row.map(audit::from_row).transpose()
}

/// The status of a change in the feeds of its recipients, and the version of the record
/// after it. `None` if no feed retains the change. One statement, so that a change that is
/// being sequenced is found either pending or at its position.
pub(crate) async fn feed_statuses(
    db: TenantDb<'_, impl ConnectionTrait>,
    record: Uuid,
    change: Uuid,
) -> Result<Option<(i64, Vec<FeedStatus>)>, RecordError> {
    let rows = db
        .query(|sql| {
            format!(
                "SELECT f.product, e.pos, e.sequenced_at, e.linked AS entry_linked, \
                 p.linked AS pending_linked, c.* \
                 FROM feed_change c CROSS JOIN feed_product f \
                 LEFT JOIN feed_entry e ON e.product = f.product AND e.seq = c.seq \
                 LEFT JOIN feed_pending p ON p.product = f.product \
                   AND p.practice_id = c.practice_id AND p.seq = c.seq \
                 WHERE c.practice_id = {} AND c.record_id = {} AND c.id = {} ORDER BY f.product",
                sql.practice(),
                sql.bind(record),
                sql.bind(change)
            )
        })
        .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let version = first.try_get("", "record_version")?;
    let mut statuses = Vec::new();
    for row in &rows {
        let position: Option<i64> = row.try_get("", "pos")?;
        let pending: Option<bool> = row.try_get("", "pending_linked")?;
        let linked: Option<bool> = row.try_get("", "entry_linked")?;
        if position.is_none() && pending.is_none() {
            continue;
        }
        let model = feed_change::Model::from_query_result(row, "")?;
        let row_at = position.map(|at| feed::from_row(at, linked.unwrap_or_default(), model));
        statuses.push(FeedStatus {
            product: row.try_get("", "product")?,
            row: row_at.transpose()?,
            sequenced_at: row.try_get("", "sequenced_at")?,
            pending,
        });
    }
    Ok(Some((version, statuses)))
}
