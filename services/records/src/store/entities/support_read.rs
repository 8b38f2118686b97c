//! One call that support has made, and why.

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
    /// Ids of the records that the answer showed, with a blank between two of them.
    pub record_ids: String,
    pub reason: String,
}

impl ActiveModelBehavior for ActiveModel {}
