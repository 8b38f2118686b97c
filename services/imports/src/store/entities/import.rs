//! The entity of an import.
#![expect(unreachable_pub, reason = "as the derives of SeaORM have it")]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "import")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub product: String,
    pub account: String,
    pub label: String,
    pub created_by: String,
    pub state: String,
    pub round: i64,
    pub validate_only: bool,
    pub expected: Option<String>,
    pub cancel_requested: bool,
    pub ended_before: Option<String>,
    pub phase: String,
    pub position: String,
    pub note: String,
    pub batch_count: i64,
    pub possible_duplicates: i64,
    pub lease_owner: Option<Uuid>,
    pub lease_token: i64,
    pub lease_expires_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub touched_at: DateTimeUtc,
    pub sealed_at: Option<DateTimeUtc>,
    pub ended_at: Option<DateTimeUtc>,
    pub purged_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
