//! One entry of the access log of support: a call and its reason.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "support_read")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub read_id: Uuid,
    pub read_at: DateTimeUtc,
    pub product: String,
    pub account: String,
    pub user_id: String,
    pub rpc: String,
    /// Ids of the records in the response, separated by spaces.
    pub record_ids: String,
    pub reason: String,
}

impl ActiveModelBehavior for ActiveModel {}
