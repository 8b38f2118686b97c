//! Row security: a write sees and changes the rows of its practice alone.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};
use shared::db::row_security;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m20261126_08_row_security"
    }
}

#[expect(elided_lifetimes_in_paths, reason = "as the trait is declared")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        row_security(manager.get_connection(), TABLES).await
    }
}

const TABLES: &[&str] = &[
    "connection",
    "client",
    "person",
    "contact",
    "entry",
    "link",
    "feed_change",
    "feed_pending",
    "feed_entry",
    "feed_subscription",
    "tombstone",
    "request",
    "audit",
    "search_word",
    "import_fence",
    "support_read",
];
