//! The access log of support.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261126_06_support_reads"
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
CREATE TABLE support_read (
  practice_id {key} NOT NULL,
  read_id {uuid} NOT NULL,
  read_at {time} NOT NULL,
  product text NOT NULL,
  account text NOT NULL,
  user_id text NOT NULL,
  rpc text NOT NULL,
  reason text NOT NULL,
  PRIMARY KEY (practice_id, read_id)
);
";
