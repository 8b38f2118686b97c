//! Lets the service update the planner statistics of tables that a worker has just
//! filled.
//!
//! Only the owner of a table may run ANALYZE, and the service has a role of its own.
//! The migration creates a function that runs with the owner's rights and does only
//! that.

use concord_db::create_analyze_function;
use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261126_05_learn"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait: as the trait has it")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_analyze_function(manager.get_connection(), super::ANALYZE_FUNCTION, TABLES).await
    }
}

const TABLES: &[&str] = &["import_record", "import_parent"];
