//! Idempotency keys: stores the response of each request, so that a retry with the same
//! request id returns it and changes nothing.

use chrono::{DateTime, Utc};
use concord_core::caller::{Caller, PracticeId};
use concord_db::StatementBatch;
use sea_orm::{
    ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, Statement,
    sea_query::Expr,
};
use uuid::Uuid;

use super::{
    entities::request,
    expiry::remove_oldest,
    sql::{among, sorted_chunks},
};
use crate::error::RecordError;

/// The stored response of a request.
#[derive(Clone, Debug)]
pub(crate) struct StoredAnswer {
    /// The digest of the request's payload. Another payload with the same id is rejected.
    pub(crate) payload_digest: Vec<u8>,
    /// The encoded response; `None` after its record was purged.
    pub(crate) answer: Option<Vec<u8>>,
}

/// The stored response of the caller's request with this id.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    caller: &Caller,
    request_id: Uuid,
) -> Result<Option<StoredAnswer>, RecordError> {
    let key = (caller.practice.to_string(), caller.product.to_string(), request_id);
    let row = request::Entity::find_by_id(key).one(db).await?;
    Ok(row.map(|row| StoredAnswer { payload_digest: row.payload_digest, answer: row.answer }))
}

/// The connected products, and the stored response of the caller's request with this id.
/// One statement, because every write starts with both.
pub(crate) async fn products_and_answer(
    db: &impl ConnectionTrait,
    caller: &Caller,
    request_id: Option<Uuid>,
) -> Result<(Vec<String>, Option<StoredAnswer>), RecordError> {
    let sql = "SELECT c.product, r.request_id, r.payload_digest, r.answer FROM connection c \
               LEFT JOIN request r ON r.practice_id = c.practice_id AND r.product = c.product \
                 AND r.product = $2 AND r.request_id = $3 \
               WHERE c.practice_id = $1 ORDER BY c.product";
    let (practice, product) = (caller.practice.as_str(), caller.product.as_str());
    let values = [practice.into(), product.into(), request_id.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let (mut products, mut before) = (Vec::new(), None);
    for row in db.query_all_raw(statement).await? {
        products.push(row.try_get("", "product")?);
        if row.try_get::<Option<Uuid>>("", "request_id")?.is_some() {
            let (payload_digest, answer) =
                (row.try_get("", "payload_digest")?, row.try_get("", "answer")?);
            before = Some(StoredAnswer { payload_digest, answer });
        }
    }
    match request_id {
        // It may have been answered before the product was disconnected.
        Some(request_id) if !products.iter().any(|connected| connected == product) => {
            Ok((products, find(db, caller, request_id).await?))
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
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    records: &[Uuid],
) -> Result<(), RecordError> {
    for records in sorted_chunks(records) {
        request::Entity::update_many()
            .col_expr(request::Column::Answer, Expr::value(Option::<Vec<u8>>::None))
            .filter(request::COLUMN.practice_id.eq(practice.as_str()))
            .filter(among(db, request::Column::RecordId, records))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// Deletes the oldest responses before `before`, of all practices, at most `limit`. Returns
/// their number.
pub(crate) async fn delete_before(
    db: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, RecordError> {
    remove_oldest(db, ("request", "answered_at"), before, limit).await
}
