//! What went wrong in a database, without the driver's text.
//!
//! The two engines say the same things in different ways; both ways are read
//! here and nowhere else.

use std::fmt;

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// What kind of fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another writer was in the way: a deadlock, a serialization failure, a
    /// busy database. The same write may succeed at once.
    Conflict,
    /// A unique key, or an exclusion constraint, is violated.
    Duplicate,
    /// The database cannot be reached, or answers too slowly.
    Unavailable,
    /// Anything else: a fault of ours.
    Other,
}

/// A unique key, as each engine names it in its errors.
#[derive(Clone, Copy, Debug)]
pub struct UniqueKey {
    /// The name of the index, on PostgreSQL.
    pub name: &'static str,
    /// Its columns, on SQLite: `table.column, table.column`.
    pub columns: &'static str,
}

/// What kind of fault `error` is.
pub fn fault(error: &DbErr) -> Fault {
    match sqlx_error(error) {
        Some(sqlx::Error::Database(database)) => match database_fault(database.as_ref()) {
            // Whatever else keeps us out, it is not the caller's fault.
            Fault::Other if matches!(error, DbErr::Conn(_)) => Fault::Unavailable,
            fault => fault,
        },
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_),
        ) => Fault::Unavailable,
        _ if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) => Fault::Unavailable,
        _ => Fault::Other,
    }
}

/// Whether `error` says that `key` is violated.
pub fn violates(error: &DbErr, key: &UniqueKey) -> bool {
    let Some(sqlx::Error::Database(error)) = sqlx_error(error) else { return false };
    match error.constraint() {
        Some(name) => name == key.name,
        None => error.message().strip_prefix("UNIQUE constraint failed: ") == Some(key.columns),
    }
}

/// `error` in words that may stand in a log.
pub fn plainly(error: &DbErr) -> Plain<'_> {
    Plain(error)
}

/// An error without the values that drivers and readers quote: they are people's
/// data. Codes, and the names of tables and columns, remain.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'e>(&'e DbErr);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match sqlx_error(self.0) {
            Some(sqlx::Error::Database(error)) => write_plainly(error.as_ref(), f),
            Some(sqlx::Error::ColumnDecode { index, .. }) => {
                write!(f, "the column {index} cannot be read")
            }
            Some(
                sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::InvalidArgument(_),
            ) => f.write_str("a value cannot be read or written"),
            Some(error) => write!(f, "{error}"),
            None => match self.0 {
                DbErr::Type(_) | DbErr::Json(_) | DbErr::TryIntoErr { .. } => {
                    f.write_str("a value cannot be read or written")
                }
                DbErr::RecordNotFound(_) => f.write_str("a row was not found"),
                error => write!(f, "{error}"),
            },
        }
    }
}

fn write_plainly(
    error: &dyn sqlx::error::DatabaseError,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let code = error.code().unwrap_or_default();
    write!(f, "the database answered {code}")?;
    if let Some(constraint) = error.constraint() {
        return write!(f, ", constraint {constraint}");
    }
    // Of the classes of PostgreSQL, data exceptions and violations quote values.
    let quotes = |class: &str| matches!(class, "22" | "23" | "P0" | "XX");
    let postgres = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some();
    if postgres && code.get(..2).is_none_or(quotes) {
        return Ok(());
    }
    write!(f, ": {}", error.message())
}

fn database_fault(error: &dyn sqlx::error::DatabaseError) -> Fault {
    if error.is_unique_violation() {
        return Fault::Duplicate;
    }
    let code = error.code().unwrap_or_default();
    // SQLSTATE has five characters. The codes of SQLite are smaller numbers.
    if code.len() == 5 { postgres_fault(&code) } else { sqlite_fault(&code) }
}

fn postgres_fault(code: &str) -> Fault {
    match code {
        // serialization_failure, deadlock_detected.
        "40001" | "40P01" => Fault::Conflict,
        // exclusion_violation.
        "23P01" => Fault::Duplicate,
        // query_canceled, as by statement_timeout; lock_not_available, by
        // lock_timeout; idle_in_transaction_session_timeout; a standby, which takes
        // no writes, after a switch to it.
        "57014" | "55P03" | "25P03" | "25006" => Fault::Unavailable,
        // The server shuts down, crashed, is starting, or ended the session; the
        // connection broke; it has no room for another one, or on its disk.
        _ if ["57P", "08", "53"].iter().any(|class| code.starts_with(class)) => Fault::Unavailable,
        _ => Fault::Other,
    }
}

fn sqlite_fault(code: &str) -> Fault {
    // The kind is in the low byte, what kind of it in the others.
    match code.parse::<u32>().map(|code| code & 0xff) {
        // BUSY, LOCKED.
        Ok(5 | 6) => Fault::Conflict,
        // IOERR, FULL, CANTOPEN.
        Ok(10 | 13 | 14) => Fault::Unavailable,
        _ => Fault::Other,
    }
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}
