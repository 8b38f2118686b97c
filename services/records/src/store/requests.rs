//! Answers of requests, kept so that a request that is sent again is answered
//! again and done once.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, sea_query::Expr,
};
use shared::{
    caller::{Caller, PracticeId},
    db::{UniqueKey, violates},
};
use uuid::Uuid;

use super::{entities::request, text::pieces};
use crate::error::RecordError;

const REQUEST_KEY: UniqueKey = UniqueKey {
    name: "request_pkey",
    columns: "request.practice_id, request.product, request.request_id",
};

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

/// Keeps an answer, which is about `record`.
///
/// # Errors
///
/// [`RecordError::Raced`] when the same request was answered at the same time.
pub(crate) async fn insert(
    db: &impl ConnectionTrait,
    caller: &Caller,
    request_id: Uuid,
    answered: Answered,
    record: Uuid,
    now: DateTime<Utc>,
) -> Result<(), RecordError> {
    let row = request::Model {
        practice_id: caller.practice.to_string(),
        product: caller.product.to_string(),
        request_id,
        payload_digest: answered.payload_digest,
        record_id: record,
        answer: answered.answer,
        answered_at: now,
    };
    let inserted = request::Entity::insert(row.into_active_model()).exec_without_returning(db);
    inserted.await.map(drop).map_err(|error| {
        if violates(&error, &REQUEST_KEY) { RecordError::Raced } else { error.into() }
    })
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
            .filter(request::COLUMN.record_id.is_in(records))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// Removes the answers that are older than `before`, of all practices.
pub(crate) async fn forget_before(
    db: &impl ConnectionTrait,
    before: DateTime<Utc>,
) -> Result<u64, RecordError> {
    let deleted = request::Entity::delete_many()
        .filter(request::COLUMN.answered_at.lt(before))
        .exec(db)
        .await?;
    Ok(deleted.rows_affected)
}
