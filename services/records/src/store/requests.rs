//! Idempotency keys: stores the response of each request, so that a retry with the same
//! request id returns it and changes nothing.

use chrono::{DateTime, Utc};
use concord_core::caller::{Caller, Product};
use concord_db::{StatementBatch, TenantDb};
use sea_orm::{ConnectionTrait, IntoActiveModel as _, QueryFilter as _, sea_query::Expr};
use uuid::Uuid;

use super::{bulk, entities::request};
use crate::error::RecordError;

/// The stored response of a request.
#[derive(Clone, Debug)]
pub(crate) struct StoredAnswer {
    /// The digest of the request's payload. Another payload with the same id is rejected.
    pub(crate) payload_digest: Vec<u8>,
    /// The encoded response; `None` after its record was purged.
    pub(crate) answer: Option<Vec<u8>>,
}

/// The stored response of the product's request with this id.
pub(crate) async fn find(
    db: TenantDb<'_, impl ConnectionTrait>,
    product: &Product,
    request_id: Uuid,
) -> Result<Option<StoredAnswer>, RecordError> {
    let query = db
        .select::<request::Entity>()
        .filter(request::COLUMN.product.eq(product.as_str()))
        .filter(request::COLUMN.request_id.eq(request_id));
    let row = query.one(db.connection()).await?;
    Ok(row.map(|row| StoredAnswer { payload_digest: row.payload_digest, answer: row.answer }))
}

/// The connected products, and the stored response of the product's request with this id.
/// One statement, because every write starts with both.
pub(crate) async fn products_and_answer(
    db: TenantDb<'_, impl ConnectionTrait>,
    product: &Product,
    request_id: Option<Uuid>,
) -> Result<(Vec<String>, Option<StoredAnswer>), RecordError> {
    let rows = db.query(|sql| {
        format!(
            "SELECT c.product, r.request_id, r.payload_digest, r.answer FROM connection c \
             LEFT JOIN request r ON r.practice_id = c.practice_id AND r.product = c.product \
               AND r.product = {} AND r.request_id = {} \
             WHERE c.practice_id = {} ORDER BY c.product",
            sql.bind(product.as_str()),
            sql.bind(request_id),
            sql.practice()
        )
    });
    let (mut products, mut before) = (Vec::new(), None);
    for row in rows.await? {
        products.push(row.try_get("", "product")?);
        if row.try_get::<Option<Uuid>>("", "request_id")?.is_some() {
            let (payload_digest, answer) =
                (row.try_get("", "payload_digest")?, row.try_get("", "answer")?);
            before = Some(StoredAnswer { payload_digest, answer });
        }
    }
    match request_id {
        // It may have been answered before the product was disconnected.
        Some(request_id) if !products.iter().any(|connected| connected == product.as_str()) => {
            Ok((products, find(db, product, request_id).await?))
        }
        _ => Ok((products, before)),
    }
}

/// Stores a response, which contains `record`.
pub(crate) fn insert(
    batch: &mut StatementBatch,
    caller: &Caller,
    request_id: Uuid,
    answered: StoredAnswer,
    record: Uuid,
    now: DateTime<Utc>,
) {
    let row = request::Model {
        practice_id: caller.practice.to_string(),
        product: caller.product.to_string(),
        request_id,
        payload_digest: answered.payload_digest,
        record_id: record,
        answer: answered.answer,
        answered_at: now,
    };
    batch.insert(vec![row.into_active_model()]);
}

/// Clears the stored responses that contain these records: they hold personal data.
pub(crate) async fn clear_answers(
    db: TenantDb<'_, impl ConnectionTrait>,
    records: &[Uuid],
) -> Result<(), RecordError> {
    let clear = db
        .update::<request::Entity>()
        .col_expr(request::Column::Answer, Expr::value(Option::<Vec<u8>>::None));
    bulk::update(db, clear, request::Column::RecordId, records).await
}
