//! One row of the audit log: a change and its author.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub change_id: Uuid,
    pub changed_at: DateTimeUtc,
    pub product: String,
    pub account: String,
    pub user_id: String,
    pub import_id: Option<Uuid>,
    pub record_kind: String,
    pub record_id: Uuid,
    pub kind: String,
    pub entry_id: Option<Uuid>,
    pub changed_fields: String,
    pub before_values: Option<String>,
    pub after_values: Option<String>,
    pub request_id: Option<Uuid>,
    pub reason: String,
}

impl ActiveModelBehavior for ActiveModel {}
