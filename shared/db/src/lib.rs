//! The database of a service: SQLite, embedded, or PostgreSQL.
//!
//! Reads use [`Database::reader`]. A write is a closure that [`Database::write`] runs in a
//! transaction. The closure must have no side effects beyond the database: it is retried
//! after a conflict, and on SQLite several closures share one commit (group commit).

mod analyze;
mod binds;
mod connect;
mod database;
mod erasure;
mod errors;
mod fillfactor;
mod group_commit;
mod migrate;
mod migration;
mod migration_status;
mod probe;
mod schema;
mod server_check;
mod sessions;
mod sql;
mod statement_batch;
mod tenant_db;
mod tenant_scope;
mod transaction_monitor;
mod url;
mod usage;
mod write;
mod write_health;

pub use binds::{
    Binds, Column, chunk_rows, chunks, column_names, pad_to_power_of_two, row_id_in, uuid_hex,
};
pub use connect::{DatabaseSettings, Timeouts};
pub use database::Database;
pub use errors::{
    DbErrorKind, Outage, Redacted, UniqueKey, error_kind, outage, redacted, violates,
};
pub use migration::{Migration, MigrationStep};
pub use migration_status::{MigrationStatus, SchemaError, migration_number, required_migration};
pub use probe::Probe;
pub use schema::Schema;
pub use sea_orm_migration::MigratorTrait;
pub use server_check::UnsupportedServer;
pub use sql::{execute, query, query_one, statement};
pub use statement_batch::{StatementBatch, columns_of, values_of};
pub use tenant_db::{TenantBinds, TenantDb, TenantTable};
pub use tenant_scope::TenantScope;
pub use url::UrlError;
pub use usage::PoolUse;
pub use write::{WriteEnd, WriteError, WriteTx};

#[cfg(test)]
mod test_database;
#[cfg(test)]
mod tests;
