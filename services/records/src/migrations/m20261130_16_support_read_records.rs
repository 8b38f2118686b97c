//! The ids of the records in the access log of support.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261130_16_support_read_records"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "as the trait is declared")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        super::run(manager, COLUMN, "").await
    }
}

/// `record_ids`: ids separated by spaces; empty for entries from before the migration.
const COLUMN: &str = "
ALTER TABLE support_read ADD COLUMN record_ids text NOT NULL DEFAULT '';
";
