//! A function that updates the planner statistics of the tables that imports fill.
//!
//! Only the owner of a table may run `ANALYZE`, and the service has another role. So the
//! function has the owner's rights, and does nothing else.

use concord_db::create_analyze_function;
use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

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
        create_analyze_function(manager.get_connection(), super::ANALYZE_FUNCTION, TABLES).await
    }
}

const TABLES: &[&str] =
    &["client", "person", "contact", "entry", "link", "search_word", "feed_change", "feed_entry"];
