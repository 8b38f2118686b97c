//! Whether a PostgreSQL server is one that the services can work on.
//!
//! Asked at the start, by simple queries: with prepared statements a pooler that
//! shares its connections would answer errors that say nothing of the cause.

use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, RuntimeErr,
    sqlx::{self, Connection as _, PgConnection, Row as _, postgres::PgRow, raw_sql},
};

use super::{errors::has_state, scope::OUTSIDE_OF_WRITES};

/// Why a server cannot be used. Each text names the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Names are stored in any script.
    #[error(
        "the database has the encoding {0}, and must have UTF8: create one with `CREATE DATABASE … \
         ENCODING 'UTF8' TEMPLATE template0`"
    )]
    Encoding(String),
    /// Nothing can be written there, now or later.
    #[error(
        "the server is a standby, which takes no writes: name the primary in the URL, or promote \
         the standby"
    )]
    Standby,
    /// Its connections do not keep the settings of a session.
    #[error(
        "a connection pooler in front of PostgreSQL does not keep sessions: use its session mode \
         (PgBouncer: `pool_mode = session`, `server_reset_query = DISCARD ALL`), or connect to \
         PostgreSQL itself"
    )]
    Pooler,
}

/// Of a session and its server.
const FACTS: &str = "SELECT pg_backend_pid() AS pid, \
    current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby, \
    coalesce(current_setting('concord.practice', true), '') AS practice";

/// Takes a connection of the server, and keeps it.
const TAKE: &str = "BEGIN; SELECT pg_backend_pid() AS pid";

/// Why the server cannot be used, if it cannot.
pub(super) async fn unfit(connection: &DatabaseConnection) -> Result<Option<Unfit>, DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(None);
    }
    match asked(connection).await {
        // A prepared statement of another client of the pooler is in the way, or the
        // pooler takes single statements only.
        Err(error) if ["42P05", "08P01"].iter().any(|state| has_state(&error, state)) => {
            Ok(Some(Unfit::Pooler))
        }
        outcome => outcome.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(error.into()))),
    }
}

async fn asked(connection: &DatabaseConnection) -> Result<Option<Unfit>, sqlx::Error> {
    let pool = connection.get_postgres_connection_pool();
    let mut session = pool.acquire().await?;
    let facts = raw_sql(FACTS).fetch_one(&mut *session).await?;
    let encoding: String = facts.try_get("encoding")?;
    if encoding != "UTF8" {
        return Ok(Some(Unfit::Encoding(encoding)));
    }
    if facts.try_get("standby")? {
        return Ok(Some(Unfit::Standby));
    }
    if !is_of_session(&facts)? {
        return Ok(Some(Unfit::Pooler));
    }
    // A pooler that shares connections gives that of an idle session to another one.
    let pid = |row: &PgRow| row.try_get::<i32, _>("pid");
    let mut other = PgConnection::connect_with(&pool.connect_options()).await?;
    let taken = raw_sql(TAKE).fetch_one(&mut other).await?;
    let again = raw_sql(FACTS).fetch_one(&mut *session).await?;
    other.close().await?;
    let kept = pid(&again)? == pid(&facts)? && pid(&taken)? != pid(&facts)?;
    Ok((!kept || !is_of_session(&again)?).then_some(Unfit::Pooler))
}

/// Whether the session has the settings that it was set up with.
fn is_of_session(facts: &PgRow) -> Result<bool, sqlx::Error> {
    let practice: String = facts.try_get("practice")?;
    Ok(practice == OUTSIDE_OF_WRITES.1)
}

#[cfg(test)]
mod tests;
