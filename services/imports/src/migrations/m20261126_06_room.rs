//! Lowers the fillfactor of `import_record`, on PostgreSQL.
//!
//! Each row is updated once or twice. With free space in its page, the new version of
//! the row stays in the same page (a HOT update), and no index changes.

use concord_db::set_fillfactor;
use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

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
        set_fillfactor(manager.get_connection(), &["import_record"]).await
    }
}
