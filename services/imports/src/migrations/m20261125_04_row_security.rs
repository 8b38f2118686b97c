//! Row-level security: a write sees and changes only rows of its own practice (tenant).

use concord_db::enable_row_security;
use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261125_04_row_security"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait: as the trait has it")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        enable_row_security(manager.get_connection(), TABLES).await
    }
}

const TABLES: &[&str] = &[
    "import",
    "import_batch",
    "import_staged",
    "import_record",
    "import_parent",
    "import_known",
    "import_failure",
    "import_tally",
    "import_attempt",
    "import_duplicate",
    "import_likeness",
];
