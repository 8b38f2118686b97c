//! A person, with its image.
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "person")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub birth_date: Option<Date>,
    pub nino: Option<String>,
    pub ppsn: Option<String>,
    pub emails: String,
    pub phones: String,
    pub state: String,
    pub version: i64,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub image: Vec<u8>,
    pub purge_at: Option<DateTimeUtc>,
    pub likeness: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
