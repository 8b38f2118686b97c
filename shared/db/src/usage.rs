//! The usage of a connection pool.

use sea_orm::{DatabaseConnection, DbBackend, sqlx};

/// The numbers of connections of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Connections in use.
    pub in_use: u32,
    /// Idle connections.
    pub idle: u32,
    /// The maximum number of connections.
    pub max: u32,
}

pub(super) fn pool_use(connection: &DatabaseConnection) -> PoolUse {
    match connection.get_database_backend() {
        DbBackend::Sqlite => of(connection.get_sqlite_connection_pool()),
        _ => of(connection.get_postgres_connection_pool()),
    }
}

fn of<DB: sqlx::Database>(pool: &sqlx::Pool<DB>) -> PoolUse {
    let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
    PoolUse {
        in_use: pool.size().saturating_sub(idle),
        idle,
        max: pool.options().get_max_connections(),
    }
}
