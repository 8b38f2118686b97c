//! A change at its position in a product's feed.
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "feed_entry")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub product: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub pos: i64,
    pub seq: i64,
    pub practice_id: String,
    pub linked: bool,
    pub sequenced_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
