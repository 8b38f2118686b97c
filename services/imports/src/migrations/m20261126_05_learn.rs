//! Lets a service have PostgreSQL look at tables that a worker has filled just now.
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
        "m20261126_05_learn"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait: as the trait has it")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        learning(manager.get_connection(), super::LEARN, TABLES).await
    }
}

const TABLES: &[&str] = &["import_record", "import_parent"];
