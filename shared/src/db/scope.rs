//! Whose rows a transaction may touch: the second fence around a practice.
//!
//! The first is that every query names its practice. On PostgreSQL a query that
//! forgets it finds nothing: the tables have row security, and each write says in
//! the setting `concord.practice` whose rows it is about. A connection on which
//! nothing was said yet may read and not write. The fence is against our own
//! mistakes; whoever has the password can set the setting. SQLite has no such
//! thing.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};

use super::errors::read_only;
use crate::caller::PracticeId;

/// The setting, as it is for every new session: reads need no transaction, and so no
/// round trip to say whose rows they are about. No practice is named like it, or
/// like [`ALL`].
pub(super) const OUTSIDE_OF_WRITES: (&str, &str) = ("concord.practice", "*read");

/// The rows of all practices.
const ALL: &str = "*";

/// Whose rows a write may touch.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Those of one practice.
    Practice(PracticeId),
    /// Those of all practices: for what is not one practice's, such as the feed of
    /// a product, and for the jobs that go over all of them.
    AllPractices,
}

impl From<&PracticeId> for Scope {
    fn from(practice: &PracticeId) -> Self {
        Self::Practice(practice.clone())
    }
}

impl Scope {
    /// Puts the fence around a transaction of PostgreSQL, until its end.
    ///
    /// # Errors
    ///
    /// When it cannot write either, as in a session of a standby: this is asked in the
    /// same round trip.
    pub(super) async fn enter(&self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let practice = match self {
            Self::Practice(practice) => practice.as_str(),
            Self::AllPractices => ALL,
        };
        // Nothing to be quoted is in the name of a practice. As plain text: a
        // statement of this kind takes no parameters.
        let sql = format!(
            "SET LOCAL concord.practice = '{practice}';              SELECT 1 WHERE current_setting('transaction_read_only') = 'off'"
        );
        match tx.execute_unprepared(&sql).await?.rows_affected() {
            0 => Err(read_only()),
            _ => Ok(()),
        }
    }
}

/// Puts the fence around tables that have a `practice_id`: for a migration that
/// makes them. Nothing on SQLite.
///
/// The setting is read once for a statement, and not once for a row: the brackets
/// and the `SELECT` around it say so. That a condition holds, and is not null, is
/// taken by the planner to be true of nearly every row, as it is; of an equation it
/// would think the opposite, and choose its plans for a handful of rows.
pub async fn row_security(connection: &impl ConnectionTrait, tables: &[&str]) -> Result<(), DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    for table in tables {
        let sql = format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; \
             CREATE POLICY practice ON {table} USING ( \
               CASE WHEN (SELECT current_setting('concord.practice', true)) \
                 IN (practice_id, '*') THEN true END IS NOT NULL); \
             CREATE POLICY reading ON {table} FOR SELECT USING ( \
               (SELECT current_setting('concord.practice', true)) = '*read')"
        );
        connection.execute_unprepared(&sql).await?;
    }
    Ok(())
}

/// Whether the fence does not hold for whoever is connected: PostgreSQL asks a
/// superuser, and a role with `BYPASSRLS`, for nothing.
pub(super) async fn is_open(connection: &impl ConnectionTrait) -> Result<bool, DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(false);
    }
    let sql = "SELECT rolsuper OR rolbypassrls AS open FROM pg_roles WHERE rolname = current_user";
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.map_or(Ok(false), |row| row.try_get("", "open"))
}
