//! A probe of the database: whether it responds, and accepts writes.

use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, RuntimeErr,
    sqlx::{self, Connection as _},
};

use super::{
    sessions::{self, Sessions},
    write_health::WriteHealth,
};

/// Checks that a database responds, on a connection of its own, because the pool may be
/// exhausted.
#[derive(Debug)]
pub struct Probe {
    pool: DatabaseConnection,
    sessions: Sessions,
    write_health: WriteHealth,
    connection: Option<Connection>,
    /// The database has responded before.
    has_responded: bool,
}

#[derive(Debug)]
enum Connection {
    Postgres(Box<sqlx::PgConnection>),
    Sqlite(sqlx::SqliteConnection),
}

impl Probe {
    pub(super) fn new(
        pool: DatabaseConnection,
        sessions: Sessions,
        write_health: WriteHealth,
    ) -> Self {
        Self { pool, sessions, write_health, connection: None, has_responded: false }
    }

    /// Checks once. The future may be dropped, as at a timeout: the next call reconnects.
    ///
    /// On PostgreSQL it also checks whether the database accepts writes. If the open sessions
    /// may belong to a demoted primary, and new ones can write, the pool is renewed.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached, or a query fails.
    pub async fn check(&mut self) -> Result<(), DbErr> {
        self.check_once().await.map_err(failed)
    }

    async fn check_once(&mut self) -> Result<(), sqlx::Error> {
        // Taken out, so that a connection is not reused after a failure or a timeout.
        let kept = self.connection.take();
        let mut reconnected = kept.is_none() && self.has_responded;
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut can_write = connection.check().await?;
        if can_write == Some(false) && !reconnected {
            // The session may be older than the state of the database.
            connection = self.connect().await?;
            can_write = connection.check().await?;
            reconnected = true;
        }
        if let Some(can_write) = can_write {
            if can_write && reconnected {
                self.sessions.renew();
            }
            self.write_health.set_read_only(!can_write);
        }
        self.connection = Some(connection);
        self.has_responded = true;
        Ok(())
    }

    async fn connect(&self) -> Result<Connection, sqlx::Error> {
        if self.pool.get_database_backend() == DbBackend::Sqlite {
            let options = self.pool.get_sqlite_connection_pool().connect_options();
            let connection = sqlx::SqliteConnection::connect_with(&options).await?;
            return Ok(Connection::Sqlite(connection));
        }
        let options = self.pool.get_postgres_connection_pool().connect_options();
        let connection = sqlx::PgConnection::connect_with(&options).await?;
        Ok(Connection::Postgres(Box::new(connection)))
    }
}

impl Connection {
    /// Whether the connection can write; `None` on SQLite, where only a write shows this.
    async fn check(&mut self) -> Result<Option<bool>, sqlx::Error> {
        match self {
            Self::Postgres(connection) => sessions::can_write(connection).await.map(Some),
            // A ping would not read the file.
            Self::Sqlite(connection) => {
                let query = sqlx::query("SELECT 1 FROM sqlite_schema LIMIT 1");
                query.fetch_optional(connection).await.map(|_| None)
            }
        }
    }
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}
