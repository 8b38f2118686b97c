//! One change of one record (a row of the outbox).
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "feed_change")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub id: Uuid,
    pub practice_id: String,
    pub record_kind: String,
    pub record_id: Uuid,
    pub record_version: i64,
    pub kind: String,
    pub changed_fields: String,
    pub entry_id: Option<Uuid>,
    pub companions: String,
    pub origin_product: String,
    pub origin_account: String,
    pub origin_user: String,
    pub import_id: Option<Uuid>,
    pub transaction_id: Uuid,
    pub transaction_index: i64,
    pub transaction_count: i64,
    pub changed_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
