//! Checks at the start that a PostgreSQL server is supported.
//!
//! The checks use simple queries: with prepared statements a transaction pooler would return
//! errors that do not show the cause.

use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, RuntimeErr,
    sqlx::{self, Connection as _, PgConnection, Row as _, postgres::PgRow, raw_sql},
};

use super::{errors::has_state, tenant_scope::DEFAULT_SETTING};

/// Why a server is not supported. Each text states the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedServer {
    /// The encoding is not UTF8, which names in any script require.
    #[error(
        "the database has the encoding {0}, and must have UTF8: create one with `CREATE DATABASE … \
         ENCODING 'UTF8' TEMPLATE template0`"
    )]
    Encoding(String),
    /// The server is a standby, which is read-only.
    #[error(
        "the server is a standby, which takes no writes: name the primary in the URL, or promote \
         the standby"
    )]
    Standby,
    /// A pooler in front of the server does not keep the settings of a session.
    #[error(
        "a connection pooler in front of PostgreSQL does not keep sessions: use its session mode \
         (PgBouncer: `pool_mode = session`, `server_reset_query = DISCARD ALL`), or connect to \
         PostgreSQL itself"
    )]
    Pooler,
}

/// Queries the properties of a session and its server.
const PROPERTIES: &str = "SELECT pg_backend_pid() AS pid, \
    current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby, \
    coalesce(current_setting('concord.practice', true), '') AS practice";

/// Pins a connection of the server by an open transaction.
const PIN: &str = "BEGIN; SELECT pg_backend_pid() AS pid";

/// Why the server is not supported, if it is not.
pub(super) async fn check(
    connection: &DatabaseConnection,
) -> Result<Option<UnsupportedServer>, DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(None);
    }
    match query(connection).await {
        // A prepared statement of another client of the pooler conflicts, or the pooler
        // accepts single statements only.
        Err(error) if ["42P05", "08P01"].iter().any(|state| has_state(&error, state)) => {
            Ok(Some(UnsupportedServer::Pooler))
        }
        outcome => outcome.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(error.into()))),
    }
}

async fn query(connection: &DatabaseConnection) -> Result<Option<UnsupportedServer>, sqlx::Error> {
    let pool = connection.get_postgres_connection_pool();
    let mut session = pool.acquire().await?;
    let properties = raw_sql(PROPERTIES).fetch_one(&mut *session).await?;
    let encoding: String = properties.try_get("encoding")?;
    if encoding != "UTF8" {
        return Ok(Some(UnsupportedServer::Encoding(encoding)));
    }
    if properties.try_get("standby")? {
        return Ok(Some(UnsupportedServer::Standby));
    }
    if !has_settings(&properties)? {
        return Ok(Some(UnsupportedServer::Pooler));
    }
    // A transaction pooler gives the connection of an idle session to another session.
    let pid = |row: &PgRow| row.try_get::<i32, _>("pid");
    let mut other = PgConnection::connect_with(&pool.connect_options()).await?;
    let pinned = raw_sql(PIN).fetch_one(&mut other).await?;
    let again = raw_sql(PROPERTIES).fetch_one(&mut *session).await?;
    other.close().await?;
    let kept = pid(&again)? == pid(&properties)? && pid(&pinned)? != pid(&properties)?;
    Ok((!kept || !has_settings(&again)?).then_some(UnsupportedServer::Pooler))
}

/// Returns `true` if the session has the settings that it was set up with.
fn has_settings(properties: &PgRow) -> Result<bool, sqlx::Error> {
    let practice: String = properties.try_get("practice")?;
    Ok(practice == DEFAULT_SETTING.1)
}

#[cfg(test)]
mod tests;
