//! A product that is connected to a practice.
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "connection")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub product: String,
    pub connected_at: DateTimeUtc,
    pub connected_by: String,
}

impl ActiveModelBehavior for ActiveModel {}
