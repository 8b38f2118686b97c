//! The entity of a staged batch.
#![expect(unreachable_pub, reason = "as the derives of SeaORM have it")]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "import_batch")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub import_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub ordinal: i64,
    pub batch_key: String,
    pub sha256: Vec<u8>,
    pub size_bytes: i64,
    pub clients: i64,
    pub contacts: i64,
    pub addresses: i64,
    pub unreadable: i64,
    pub round: i64,
    pub staged_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
