//! A lower fillfactor for clients and persons, on PostgreSQL.
//!
//! An update writes a new row version. If the page has room for it, no index has to be
//! updated (a HOT update). An import updates most clients and persons soon after it has
//! created them, once for each address.

use concord_db::set_fillfactor;
use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

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
        set_fillfactor(manager.get_connection(), &["client", "person"]).await
    }
}
