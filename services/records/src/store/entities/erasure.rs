//! A purged record, or the digest of one of its external keys.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "erasure")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    pub record_kind: Option<String>,
    pub record_id: Option<Uuid>,
    pub digest: Option<Vec<u8>>,
    pub erased_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
