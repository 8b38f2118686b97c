//! Lets a service have PostgreSQL look at tables that imports have filled just now.
//!
//! Only the owner of a table may; the service has a role of its own. So it is a
//! function of the owner's, which looks and does nothing else.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};
use shared::db::learning;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261126_09_learn"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "as the trait is declared")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        learning(manager.get_connection(), super::LEARN, TABLES).await
    }
}

const TABLES: &[&str] =
    &["client", "person", "contact", "entry", "link", "search_word", "feed_change", "feed_entry"];
