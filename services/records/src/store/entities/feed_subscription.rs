//! A named subscription, with its position.
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "feed_subscription")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub product: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub practice_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub account: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub id: Uuid,
    pub session: i64,
    pub start_pos: i64,
    pub acked_pos: i64,
    pub acked_walk: Option<String>,
    pub acked_at: Option<DateTimeUtc>,
    pub delivered_pos: i64,
    pub seen_pos: i64,
    pub echo: String,
    pub kinds: String,
    pub linked_only: bool,
    pub practices: String,
    pub created_at: DateTimeUtc,
    pub connected_at: DateTimeUtc,
    pub active_until: Option<DateTimeUtc>,
    pub connection_since: Option<DateTimeUtc>,
}

impl ActiveModelBehavior for ActiveModel {}
