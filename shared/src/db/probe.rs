//! Whether the database answers, and takes writes.

use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, RuntimeErr,
    sqlx::{self, Connection as _},
};

use super::{
    sessions::{self, Sessions},
    trouble::Trouble,
};

/// Asks a database whether it answers, on a connection of its own: one of the pool
/// may be long in coming while all of them are at work.
#[derive(Debug)]
pub struct Probe {
    pool: DatabaseConnection,
    sessions: Sessions,
    trouble: Trouble,
    connection: Option<Connection>,
    /// Whether it has answered before.
    known: bool,
}

#[derive(Debug)]
enum Connection {
    Postgres(Box<sqlx::PgConnection>),
    Sqlite(sqlx::SqliteConnection),
}

impl Probe {
    pub(super) fn new(pool: DatabaseConnection, sessions: Sessions, trouble: Trouble) -> Self {
        Self { pool, sessions, trouble, connection: None, known: false }
    }

    /// Asks once. A caller that does not wait any longer may drop the future: the
    /// next call connects anew.
    ///
    /// On PostgreSQL it also asks whether the database takes writes. When sessions that
    /// are open may be of a primary of the past, and new ones can write, those of the
    /// pool are renewed.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, or does not do as it should.
    pub async fn ask(&mut self) -> Result<(), DbErr> {
        self.ask_once().await.map_err(failed)
    }

    async fn ask_once(&mut self) -> Result<(), sqlx::Error> {
        // Taken out: what has failed, or was not waited for, is not used again.
        let kept = self.connection.take();
        let mut anew = kept.is_none() && self.known;
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut writes = connection.ask().await?;
        if writes == Some(false) && !anew {
            // The session may be older than the state of the database.
            connection = self.connect().await?;
            writes = connection.ask().await?;
            anew = true;
        }
        if let Some(writes) = writes {
            if writes && anew {
                self.sessions.renew();
            }
            self.trouble.is_read_only(!writes);
        }
        self.connection = Some(connection);
        self.known = true;
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
    /// Whether it can write; on SQLite only a write shows this.
    async fn ask(&mut self) -> Result<Option<bool>, sqlx::Error> {
        match self {
            Self::Postgres(connection) => sessions::writes(connection).await.map(Some),
            // A ping would not touch the file.
            Self::Sqlite(connection) => {
                let asked = sqlx::query("SELECT 1 FROM sqlite_schema LIMIT 1");
                asked.fetch_optional(connection).await.map(|_| None)
            }
        }
    }
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}
