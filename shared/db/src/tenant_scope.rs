//! The tenant scope of a write transaction, enforced by row-level security on PostgreSQL.
//!
//! The tenant is a practice. Every query filters by its practice, by the handle
//! [`TenantDb`](super::TenantDb) in `tenant_db.rs`; row-level security is the second line of
//! defence, against bugs. Each write sets `concord.practice` to the practice whose rows it
//! may touch, and a policy on each table hides all other rows. With the default setting a
//! session can read all rows and write none. It does not protect against a client with the
//! database password, who can change the setting. SQLite has no counterpart.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};

use super::errors::read_only;
use concord_core::caller::PracticeId;

/// The setting of every new session, which allows reads of all rows: a read needs no
/// transaction, and no round trip to set its practice. No practice can have this name, or
/// that of [`ALL`].
pub(super) const DEFAULT_SETTING: (&str, &str) = ("concord.practice", "*read");

/// The value of the setting for all practices.
const ALL: &str = "*";

/// The rows that a write may touch.
#[derive(Clone, Debug)]
pub enum TenantScope {
    /// The rows of one practice.
    Practice(PracticeId),
    /// The rows of all practices: for data across practices, such as the feed of a product,
    /// and for background jobs.
    AllPractices,
}

impl From<&PracticeId> for TenantScope {
    fn from(practice: &PracticeId) -> Self {
        Self::Practice(practice.clone())
    }
}

impl TenantScope {
    /// Applies the scope to a transaction of PostgreSQL.
    ///
    /// # Errors
    ///
    /// If the transaction is read-only, as in a session of a standby, which the same round
    /// trip checks.
    pub(super) async fn apply(&self, tx: &DatabaseTransaction) -> Result<(), DbErr> {
        let practice = match self {
            Self::Practice(practice) => practice.as_str(),
            Self::AllPractices => ALL,
        };
        // SET takes no parameters. The name of a practice needs no quoting.
        let sql = format!(
            "SET LOCAL concord.practice = '{practice}'; \
             SELECT 1 WHERE current_setting('transaction_read_only') = 'off'"
        );
        match tx.execute_unprepared(&sql).await?.rows_affected() {
            0 => Err(read_only()),
            _ => Ok(()),
        }
    }
}

/// Enables row-level security, with its policies, on tables that have a `practice_id`. For
/// the migrations that create them. No effect on SQLite.
///
/// The subquery around the setting makes it evaluated once for a statement, not for a row.
/// The planner estimates that `IS NOT NULL` holds for nearly every row, as it does here. For
/// an equality it would estimate few rows, and choose plans for a few rows.
pub(super) async fn enable_row_security(
    connection: &impl ConnectionTrait,
    tables: &[&str],
) -> Result<(), DbErr> {
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

/// Returns `true` if row-level security does not apply to the current role: a superuser, or
/// a role with `BYPASSRLS`.
pub(super) async fn is_bypassed(connection: &impl ConnectionTrait) -> Result<bool, DbErr> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(false);
    }
    let sql = "SELECT rolsuper OR rolbypassrls AS open FROM pg_roles WHERE rolname = current_user";
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.map_or(Ok(false), |row| row.try_get("", "open"))
}
