//! Fencing tokens of imports.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261121_05_fences"
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
CREATE TABLE import_fence (
  practice_id {key} NOT NULL,
  import_id {uuid} NOT NULL,
  fence bigint NOT NULL,
  raised_at {time} NOT NULL,
  PRIMARY KEY (practice_id, import_id)
);
CREATE INDEX import_fence_raised_at ON import_fence (raised_at);
";
