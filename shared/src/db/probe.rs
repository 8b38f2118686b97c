//! Whether the database answers.

use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, RuntimeErr,
    sqlx::{self, Connection as _},
};

/// Asks a database whether it answers, on a connection of its own: one of the pool
/// may be long in coming while all of them are at work.
#[derive(Debug)]
pub struct Probe {
    pool: DatabaseConnection,
    connection: Option<Connection>,
}

#[derive(Debug)]
enum Connection {
    Postgres(Box<sqlx::PgConnection>),
    Sqlite(sqlx::SqliteConnection),
}

impl Probe {
    pub(super) fn new(pool: DatabaseConnection) -> Self {
        Self { pool, connection: None }
    }

    /// Asks once. A caller that does not wait any longer may drop the future: the
    /// next call connects anew.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, or does not do as it should.
    pub async fn ask(&mut self) -> Result<(), DbErr> {
        // Taken out: what has failed, or was not waited for, is not used again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await.map_err(failed)?,
        };
        connection.ask().await.map_err(failed)?;
        self.connection = Some(connection);
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
    async fn ask(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(connection) => connection.ping().await,
            // A ping would not touch the file.
            Self::Sqlite(connection) => {
                let asked = sqlx::query("SELECT 1 FROM sqlite_schema LIMIT 1");
                asked.fetch_optional(connection).await.map(drop)
            }
        }
    }
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}
