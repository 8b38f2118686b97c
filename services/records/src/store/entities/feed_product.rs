//! The feed of one product.
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "feed_product")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub product: String,
    pub epoch: Uuid,
    pub head: i64,
    pub floor: i64,
    pub last_practice: String,
    pub secret: Vec<u8>,
    pub floor_change: Option<Uuid>,
}

impl ActiveModelBehavior for ActiveModel {}
