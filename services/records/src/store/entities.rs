//! One struct for each table. Visible in `store` only; the columns are described
//! in the migrations.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::disallowed_methods,
    clippy::struct_field_names,
    reason = "derived by SeaORM"
)]

pub(crate) mod audit;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod contact;
pub(crate) mod entry;
pub(crate) mod erasure;
pub(crate) mod feed_change;
pub(crate) mod feed_product;
pub(crate) mod feed_subscription;
pub(crate) mod former_link;
pub(crate) mod link;
pub(crate) mod person;
pub(crate) mod request;
pub(crate) mod search_word;
pub(crate) mod support_read;
pub(crate) mod tombstone;

concord_db::tenant_tables! {
    audit, client, connection, contact, entry, erasure, former_link, link, person, request,
    search_word, support_read, tombstone,
}
