//! Leaves room in the pages of the records of imports, on PostgreSQL.
//!
//! Each is changed once or twice after it was read: its row is written anew beside
//! the old one, when there is room, and then no index has to be told.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};
use shared::db::leave_room;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261126_06_room"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait: as the trait has it")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        leave_room(manager.get_connection(), &["import_record"]).await
    }
}
