//! Classification of database errors, and their text without data.
//!
//! This is the only module that interprets the error codes of both engines.

use std::{borrow::Cow, error::Error, fmt};

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, error::ErrorKind},
};

/// The kind of a database error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DbErrorKind {
    /// A conflict with another writer: a deadlock, a serialization failure, a busy database.
    /// An immediate retry may succeed.
    Conflict,
    /// A unique key, or an exclusion constraint, is violated.
    Duplicate,
    /// The database is temporarily unavailable; [`outage`] returns the cause.
    Unavailable,
    /// Another error: a bug.
    Other,
}

/// Why a database is temporarily unavailable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// It cannot be reached, or has no free connection.
    #[default]
    NoConnection,
    /// It is read-only: a standby, or a file without write permission.
    ReadOnly,
    /// Its disk is full.
    DiskFull,
    /// Its disk returns errors, which some disks do when they are full.
    DiskError,
    /// A lock of another transaction was not released in time.
    LockTimeout,
    /// A statement took too long, or a transaction was idle for too long.
    StatementTimeout,
    /// It has rolled back the transaction that the write shared with other writes.
    RolledBack,
}

impl Outage {
    /// All outages.
    pub const ALL: [Self; 7] = [
        Self::NoConnection,
        Self::ReadOnly,
        Self::DiskFull,
        Self::DiskError,
        Self::LockTimeout,
        Self::StatementTimeout,
        Self::RolledBack,
    ];

    /// The message for the caller, with cause and remedy.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoConnection => "no connection to the database: retry the call",
            Self::ReadOnly => "the database is read-only: retry the call until it accepts writes",
            Self::DiskFull => {
                "the disk of the database is full: retry the call after space is freed"
            }
            Self::DiskError => {
                "the disk of the database is full or fails: retry the call after it is repaired"
            }
            Self::LockTimeout => "a lock was not released in time: retry the call",
            Self::StatementTimeout => "a statement took too long in the database: retry the call",
            Self::RolledBack => "the database has rolled the write back: retry the call",
        }
    }

    /// The cause, for the operator, if the database itself rejects writes.
    pub const fn database_cause(self) -> Option<&'static str> {
        match self {
            Self::ReadOnly => Some("the database is read-only"),
            Self::DiskFull => Some("the disk of the database is full"),
            Self::DiskError => Some("the disk of the database is full or fails"),
            Self::NoConnection | Self::LockTimeout | Self::StatementTimeout | Self::RolledBack => {
                None
            }
        }
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoConnection => "no_connection",
            Self::ReadOnly => "read_only",
            Self::DiskFull => "disk_full",
            Self::DiskError => "disk_error",
            Self::LockTimeout => "lock_timeout",
            Self::StatementTimeout => "statement_timeout",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// A unique key, as each engine names it in its errors.
#[derive(Clone, Copy, Debug)]
pub struct UniqueKey {
    /// The name of the index, on PostgreSQL.
    pub name: &'static str,
    /// Its columns, on SQLite: `table.column, table.column`.
    pub columns: &'static str,
}

/// The kind of `error`.
pub fn error_kind(error: &DbErr) -> DbErrorKind {
    if outage(error).is_some() {
        return DbErrorKind::Unavailable;
    }
    match sqlx_error(error) {
        Some(sqlx::Error::Database(error)) => database_error_kind(error.as_ref()),
        _ => DbErrorKind::Other,
    }
}

/// The outage that `error` reports, if any.
pub fn outage(error: &DbErr) -> Option<Outage> {
    // Any other connection failure is not the caller's fault either.
    let while_connecting = || match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Some(Outage::NoConnection),
        _ => None,
    };
    match sqlx_error(error) {
        Some(sqlx::Error::Database(database)) => database_outage(database.as_ref()).or_else(|| {
            let conflict = database_error_kind(database.as_ref()) != DbErrorKind::Other;
            if conflict { None } else { while_connecting() }
        }),
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_),
        ) => Some(Outage::NoConnection),
        _ => while_connecting(),
    }
}

/// Returns `true` if an error of the driver has this SQLSTATE.
pub(super) fn has_state(error: &sqlx::Error, state: &str) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == state)
}

/// The error of a write in a read-only session of PostgreSQL.
pub(super) fn read_only() -> DbErr {
    synthetic("25006", "the session is read-only")
}

/// The error of the writes of a transaction that SQLite itself has rolled back.
pub(super) fn rolled_back() -> DbErr {
    // SQLITE_ABORT_ROLLBACK.
    synthetic("516", "the transaction was rolled back")
}

fn synthetic(code: &'static str, message: &'static str) -> DbErr {
    let error = sqlx::Error::Database(Box::new(SyntheticError { code, message }));
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

/// A condition that was detected before the database reported it, with the code of the
/// error that it would return.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct SyntheticError {
    code: &'static str,
    message: &'static str,
}

impl sqlx::error::DatabaseError for SyntheticError {
    fn message(&self) -> &str {
        self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

/// Returns `true` if `error` reports a violation of `key`.
pub fn violates(error: &DbErr, key: &UniqueKey) -> bool {
    let Some(sqlx::Error::Database(error)) = sqlx_error(error) else { return false };
    match error.constraint() {
        Some(name) => name == key.name,
        None => error.message().strip_prefix("UNIQUE constraint failed: ") == Some(key.columns),
    }
}

/// The text of `error` without data, for the log.
pub fn redacted(error: &DbErr) -> Redacted<'_> {
    Redacted(error)
}

/// Displays an error without the values that it quotes, which may be personal data. Codes,
/// and the names of tables and columns, are kept.
#[derive(Clone, Copy, Debug)]
pub struct Redacted<'e>(&'e DbErr);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match sqlx_error(self.0) {
            Some(sqlx::Error::Database(error)) => write_redacted(error.as_ref(), f),
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

fn write_redacted(
    error: &dyn sqlx::error::DatabaseError,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let code = error.code().unwrap_or_default();
    write!(f, "the database answered {code}")?;
    if let Some(constraint) = error.constraint() {
        return write!(f, ", constraint {constraint}");
    }
    // On PostgreSQL, messages of data exceptions and constraint violations quote values.
    let quotes = |class: &str| matches!(class, "22" | "23" | "P0" | "XX");
    let postgres = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some();
    if postgres && code.get(..2).is_none_or(quotes) {
        return Ok(());
    }
    write!(f, ": {}", error.message())
}

fn database_error_kind(error: &dyn sqlx::error::DatabaseError) -> DbErrorKind {
    if error.is_unique_violation() {
        return DbErrorKind::Duplicate;
    }
    match Code::of(error) {
        // serialization_failure, deadlock_detected; BUSY, LOCKED.
        Code::Postgres(code) if code == "40001" || code == "40P01" => DbErrorKind::Conflict,
        Code::Sqlite(5 | 6) => DbErrorKind::Conflict,
        // exclusion_violation.
        Code::Postgres(code) if code == "23P01" => DbErrorKind::Duplicate,
        _ => DbErrorKind::Other,
    }
}

fn database_outage(error: &dyn sqlx::error::DatabaseError) -> Option<Outage> {
    match Code::of(error) {
        Code::Postgres(code) => postgres_outage(&code),
        Code::Sqlite(code) => sqlite_outage(code),
    }
}

fn postgres_outage(code: &str) -> Option<Outage> {
    match code {
        // read_only_sql_transaction: a standby, as after a failover.
        "25006" => Some(Outage::ReadOnly),
        "53100" => Some(Outage::DiskFull),
        // lock_not_available, by lock_timeout.
        "55P03" => Some(Outage::LockTimeout),
        // query_canceled, as by statement_timeout; idle_in_transaction_session_timeout.
        "57014" | "25P03" => Some(Outage::StatementTimeout),
        // The server is shutting down, has crashed, is starting, or has ended the session;
        // the connection broke; the server has too many connections.
        _ if ["57P", "08", "53"].iter().any(|class| code.starts_with(class)) => {
            Some(Outage::NoConnection)
        }
        _ => None,
    }
}

fn sqlite_outage(code: u32) -> Option<Outage> {
    match code {
        // ABORT.
        4 => Some(Outage::RolledBack),
        // READONLY.
        8 => Some(Outage::ReadOnly),
        // IOERR.
        10 => Some(Outage::DiskError),
        // FULL.
        13 => Some(Outage::DiskFull),
        // CANTOPEN.
        14 => Some(Outage::NoConnection),
        _ => None,
    }
}

/// The code of an error.
enum Code {
    /// A SQLSTATE of five characters.
    Postgres(String),
    /// A primary result code, without the bits of the extended code.
    Sqlite(u32),
}

impl Code {
    fn of(error: &dyn sqlx::error::DatabaseError) -> Self {
        let code = error.code().unwrap_or_default();
        // The codes of SQLite are numbers of fewer digits.
        match code.parse::<u32>() {
            Ok(number) if code.len() < 5 => Self::Sqlite(number & 0xff),
            _ => Self::Postgres(code.into_owned()),
        }
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
