//! Answers of requests, kept so that a request that is sent again is answered
//! again and done once.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, Statement,
    sea_query::Expr,
};
use shared::{
    caller::{Caller, PracticeId},
    db::Writes,
};
use uuid::Uuid;

use super::{
    entities::request,
    expiry::remove_oldest,
    keys::{among, pieces},
};
use crate::error::RecordError;

/// A request that was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// Of the request: another one may not use the same id.
    pub(crate) payload_digest: Vec<u8>,
    /// The answer, encoded; none when its record was removed meanwhile.
    pub(crate) answer: Option<Vec<u8>>,
}

/// The answer of the caller's request with this id.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    caller: &Caller,
    request_id: Uuid,
) -> Result<Option<Answered>, RecordError> {
    let key = (caller.practice.to_string(), caller.product.to_string(), request_id);
    let row = request::Entity::find_by_id(key).one(db).await?;
    Ok(row.map(|row| Answered { payload_digest: row.payload_digest, answer: row.answer }))
}

/// The products that are connected, and the answer of the caller's request with
/// this id: what every change begins with, in one statement.
pub(crate) async fn opening(
    db: &impl ConnectionTrait,
    caller: &Caller,
    request_id: Option<Uuid>,
) -> Result<(Vec<String>, Option<Answered>), RecordError> {
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
            before = Some(Answered { payload_digest, answer });
        }
    }
    match request_id {
        // It was answered before the product was disconnected, perhaps.
        Some(request_id) if !products.iter().any(|connected| connected == product) => {
            Ok((products, find(db, caller, request_id).await?))
        }
        _ => Ok((products, before)),
    }
}

/// Keeps an answer, which is about `record`.
pub(crate) fn insert(
    writes: &mut Writes,
    caller: &Caller,
    request_id: Uuid,
    answered: Answered,
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
    writes.insert(vec![row.into_active_model()]);
}

/// Removes the answers about these records: they hold personal data.
pub(crate) async fn forget_records(
    db: &impl ConnectionTrait,
    practice: &PracticeId,
    records: &[Uuid],
) -> Result<(), RecordError> {
    for records in pieces(records) {
        request::Entity::update_many()
            .col_expr(request::Column::Answer, Expr::value(Option::<Vec<u8>>::None))
            .filter(request::COLUMN.practice_id.eq(practice.as_str()))
            .filter(among(db, request::Column::RecordId, records))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// Removes the oldest of the answers that are older than `before`, of all practices:
/// `limit` at most; how many.
pub(crate) async fn forget_before(
    db: &impl ConnectionTrait,
    before: DateTime<Utc>,
    limit: u64,
) -> Result<u64, RecordError> {
    remove_oldest(db, ("request", "answered_at"), before, limit).await
}
