//! Leaves room in the pages of clients and persons, on PostgreSQL.
//!
//! A change of one writes its row anew: beside the old one, when there is room, and
//! then no index has to be told. An import changes most of them soon after it has
//! created them, one for each of their addresses.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};
use shared::db::leave_room;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261126_10_room"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "as the trait is declared")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        leave_room(manager.get_connection(), &["client", "person"]).await
    }
}
