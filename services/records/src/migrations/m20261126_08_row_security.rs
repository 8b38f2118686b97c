//! Row-level security: a write sees and changes only the rows of its practice (the tenant).

use concord_db::enable_row_security;
use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait, sea_orm::DbErr,
};

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
        enable_row_security(manager.get_connection(), TABLES).await
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
