//! The tombstone of a purged record.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tombstone")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub record_id: Uuid,
    pub record_kind: String,
    pub purged_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
