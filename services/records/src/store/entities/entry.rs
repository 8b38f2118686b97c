//! One dated value on a timeline of a client or a person.
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "entry")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub owner_id: Uuid,
    pub timeline: String,
    pub value: String,
    pub active_from: Option<Date>,
    pub active_to: Option<Date>,
    pub created_at: DateTimeUtc,
    pub own_to: Option<Date>,
    pub turns_on: Option<Date>,
    pub cuts: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
