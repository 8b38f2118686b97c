//! Warnings: issues of records that are accepted.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261130_08_warnings"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait: as the trait has it")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        super::run(manager, TABLES).await
    }
}

/// - `import_failure`: errors are listed before warnings, so the severity comes first
///   in the index of the list.
/// - `import_tally`: `warned` is the number of records with a warning, counted at the
///   end of the import.
const TABLES: &str = "
ALTER TABLE import_failure ADD COLUMN severity {key} NOT NULL DEFAULT 'ERROR';
ALTER TABLE import_attempt ADD COLUMN severity {key} NOT NULL DEFAULT 'ERROR';
DROP INDEX import_failure_in_order;
CREATE INDEX import_failure_in_order ON import_failure
  (practice_id, import_id, severity, kind, source_id, batch, row_no, ordinal);
ALTER TABLE import_tally ADD COLUMN warned bigint NOT NULL DEFAULT 0;
";
