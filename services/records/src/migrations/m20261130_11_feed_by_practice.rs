//! An index that finds the entries of one practice in a feed without reading those of the
//! others.
//!
//! While PostgreSQL creates the index, no positions are assigned: changes stay pending, and
//! writes are not blocked.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261130_11_feed_by_practice"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "as the trait is declared")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        super::run(manager, TABLES, "").await
    }
}

const TABLES: &str = "
CREATE INDEX feed_entry_practice ON feed_entry (product, practice_id, pos);
";
