//! An idempotency key with the stored response.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "request")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub product: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_id: Uuid,
    pub payload_digest: Vec<u8>,
    pub record_id: Uuid,
    pub answer: Option<Vec<u8>>,
    pub answered_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
