//! A client, with its image.
//!
//! A new column also needs a migration, and a place in `to_row` and `from_row` of
//! `store/clients.rs`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "client")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub client_type: String,
    pub jurisdiction: String,
    pub reference: String,
    pub reference_key: String,
    pub person_id: Option<Uuid>,
    pub company_number: Option<String>,
    pub utr: Option<String>,
    pub vat_number: Option<String>,
    pub paye_reference: Option<String>,
    pub emails: String,
    pub phones: String,
    pub state: String,
    pub version: i64,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub image: Vec<u8>,
    pub purge_at: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
