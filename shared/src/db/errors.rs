//! What went wrong in a database, without the driver's text.
//!
//! The two engines say the same things in different ways; both ways are read
//! here and nowhere else.

use std::{borrow::Cow, error::Error, fmt};

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, error::ErrorKind},
};

/// What kind of fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another writer was in the way: a deadlock, a serialization failure, a
    /// busy database. The same write may succeed at once.
    Conflict,
    /// A unique key, or an exclusion constraint, is violated.
    Duplicate,
    /// The database is temporarily unable to do it: [`outage`] says why.
    Unavailable,
    /// Anything else: a fault of ours.
    Other,
}

/// Why a database is temporarily unable to do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outage {
    /// It cannot be reached, or has no connection to spare.
    #[default]
    NoConnection,
    /// It takes no writes: a standby, or a file that may not be written.
    ReadOnly,
    /// Its disk is full.
    DiskFull,
    /// Its disk answers with errors, which some disks do when they are full.
    DiskFails,
    /// Another transaction did not release a lock in time.
    Locked,
    /// A statement took too long, or a transaction did nothing for too long.
    Slow,
    /// It has rolled back the transaction that the write shared with others.
    RolledBack,
}

impl Outage {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::NoConnection,
        Self::ReadOnly,
        Self::DiskFull,
        Self::DiskFails,
        Self::Locked,
        Self::Slow,
        Self::RolledBack,
    ];

    /// The message for the caller: the cause, and the remedy.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoConnection => "no connection to the database: send the call again",
            Self::ReadOnly => {
                "the database is read-only: send the call again, until it takes writes"
            }
            Self::DiskFull => {
                "the disk of the database is full: send the call again, until there is room"
            }
            Self::DiskFails => {
                "the disk of the database is full or fails: send the call again, until it is mended"
            }
            Self::Locked => "a lock was not released in time: send the call again",
            Self::Slow => "a statement took too long in the database: send the call again",
            Self::RolledBack => "the database has rolled the write back: send the call again",
        }
    }

    /// The cause alone, for those who run the database; none when it is not the
    /// database that takes no writes.
    pub const fn of_the_database(self) -> Option<&'static str> {
        match self {
            Self::ReadOnly => Some("the database is read-only"),
            Self::DiskFull => Some("the disk of the database is full"),
            Self::DiskFails => Some("the disk of the database is full or fails"),
            Self::NoConnection | Self::Locked | Self::Slow | Self::RolledBack => None,
        }
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoConnection => "no_connection",
            Self::ReadOnly => "read_only",
            Self::DiskFull => "disk_full",
            Self::DiskFails => "disk_error",
            Self::Locked => "lock_timeout",
            Self::Slow => "statement_timeout",
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

/// What kind of fault `error` is.
pub fn fault(error: &DbErr) -> Fault {
    if outage(error).is_some() {
        return Fault::Unavailable;
    }
    match sqlx_error(error) {
        Some(sqlx::Error::Database(error)) => database_fault(error.as_ref()),
        _ => Fault::Other,
    }
}

/// Why the database could not do it just now; none when that is not what `error` says.
pub fn outage(error: &DbErr) -> Option<Outage> {
    // Any other connection failure is not the caller's fault either.
    let while_connecting = || match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Some(Outage::NoConnection),
        _ => None,
    };
    match sqlx_error(error) {
        Some(sqlx::Error::Database(database)) => database_outage(database.as_ref()).or_else(|| {
            let conflict = database_fault(database.as_ref()) != Fault::Other;
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

/// Whether an error of the driver has this SQLSTATE.
pub(super) fn has_state(error: &sqlx::Error, state: &str) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == state)
}

/// The error of a write in a read-only session of PostgreSQL.
pub(super) fn read_only() -> DbErr {
    noticed("25006", "the session is read-only")
}

/// The error of the writes of a transaction that SQLite has rolled back by itself.
pub(super) fn rolled_back() -> DbErr {
    // SQLITE_ABORT_ROLLBACK.
    noticed("516", "the transaction was rolled back")
}

fn noticed(code: &'static str, message: &'static str) -> DbErr {
    let error = sqlx::Error::Database(Box::new(Noticed { code, message }));
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

/// What was noticed of a database before it answered so itself: with the code of the
/// error that it would answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Noticed {
    code: &'static str,
    message: &'static str,
}

impl sqlx::error::DatabaseError for Noticed {
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
    match Code::of(error) {
        // serialization_failure, deadlock_detected; BUSY, LOCKED.
        Code::Postgres(code) if code == "40001" || code == "40P01" => Fault::Conflict,
        Code::Sqlite(5 | 6) => Fault::Conflict,
        // exclusion_violation.
        Code::Postgres(code) if code == "23P01" => Fault::Duplicate,
        _ => Fault::Other,
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
        // read_only_sql_transaction: of a standby, as after a failover.
        "25006" => Some(Outage::ReadOnly),
        "53100" => Some(Outage::DiskFull),
        // lock_not_available, by lock_timeout.
        "55P03" => Some(Outage::Locked),
        // query_canceled, as by statement_timeout; idle_in_transaction_session_timeout.
        "57014" | "25P03" => Some(Outage::Slow),
        // The server shuts down, crashed, is starting, or ended the session; the
        // connection broke; it has no room for another one.
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
        10 => Some(Outage::DiskFails),
        // FULL.
        13 => Some(Outage::DiskFull),
        // CANTOPEN.
        14 => Some(Outage::NoConnection),
        _ => None,
    }
}

/// The code of an error.
enum Code {
    /// SQLSTATE, of five characters.
    Postgres(String),
    /// The kind of it; what kind of that is in the higher bytes, and left out.
    Sqlite(u32),
}

impl Code {
    fn of(error: &dyn sqlx::error::DatabaseError) -> Self {
        let code = error.code().unwrap_or_default();
        // The codes of SQLite are smaller numbers.
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
