//! Errors of the records service.

use concord_core::{rules::FieldViolations, status::ApiError};
use concord_db::{DbErrorKind, WriteError, error_kind, outage, redacted};
use concord_proto::pb::records::ErrorReason;
use sea_orm::DbErr;
use tonic::{Code, Status};

use crate::domain::record::RecordRef;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// An error for the caller. Only its reason is logged: its text may contain values of
    /// the caller.
    #[error("refused: {:?}", .0.reason())]
    Api(ApiError),
    /// The database failed.
    #[error("{}", redacted(.0))]
    Database(#[from] DbErr),
    /// A unique key exists already.
    #[error("unique violation: {0:?}")]
    UniqueViolation(UniqueViolation),
    /// A concurrent transaction committed first. A retry reads its result (optimistic
    /// concurrency).
    #[error("write conflict")]
    WriteConflict,
    /// A stored row cannot be decoded: a defect.
    #[error("a row cannot be read: {0}")]
    Corrupt(&'static str),
}

/// The unique key that a write violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UniqueViolation {
    /// A client reference in a practice.
    Reference,
    /// A person at a client.
    Contact,
    /// An external id of an account of a product.
    ExternalId,
    /// A link of an account of a product to a record.
    Link,
}

impl RecordError {
    /// True if the database is unavailable.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error_kind(error) == DbErrorKind::Unavailable)
    }

    /// Turns a unique violation into a write conflict, for a command that reads before it
    /// writes: a concurrent transaction inserted the key after the read, and a retry
    /// reads it.
    pub(crate) fn or_write_conflict(self) -> Self {
        match self {
            Self::UniqueViolation(_) => Self::WriteConflict,
            other => other,
        }
    }
}

impl From<ApiError> for RecordError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<FieldViolations> for RecordError {
    fn from(violations: FieldViolations) -> Self {
        ApiError::from(violations).into()
    }
}

impl WriteError for RecordError {
    fn database(&self) -> Option<&DbErr> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }

    fn is_conflict(&self) -> bool {
        match self {
            Self::Database(error) => error_kind(error) == DbErrorKind::Conflict,
            Self::WriteConflict => true,
            Self::Api(_) | Self::UniqueViolation(_) | Self::Corrupt(_) => false,
        }
    }
}

impl RecordError {
    /// The error that the caller receives.
    pub(crate) fn into_api_error(self) -> ApiError {
        match self {
            Self::Api(error) => error,
            Self::UniqueViolation(UniqueViolation::ExternalId | UniqueViolation::Link) => {
                duplicate_external_id()
            }
            Self::WriteConflict | Self::UniqueViolation(_) => ApiError::conflict(),
            Self::Database(error) => match error_kind(&error) {
                DbErrorKind::Conflict | DbErrorKind::Duplicate => ApiError::conflict(),
                DbErrorKind::Unavailable => {
                    ApiError::unavailable(outage(&error).unwrap_or_default().text())
                }
                DbErrorKind::Other => ApiError::internal(&redacted(&error)),
            },
            error @ Self::Corrupt(_) => ApiError::internal(&error),
        }
    }
}

impl From<RecordError> for Status {
    fn from(error: RecordError) -> Self {
        error.into_api_error().into()
    }
}

/// The reference belongs to another client.
pub(crate) fn duplicate_reference(existing: RecordRef) -> ApiError {
    let id = existing.text();
    ApiError::new(
        Code::AlreadyExists,
        ErrorReason::DuplicateReference,
        format!(
            "the client reference is already used by {id}; link that client, or choose another"
        ),
    )
    .with("existing", id)
}

/// The external id belongs to another record of the product.
pub(crate) fn duplicate_external_id() -> ApiError {
    ApiError::new(
        Code::AlreadyExists,
        ErrorReason::DuplicateExternalId,
        "the external id already names a record of this product and account",
    )
}

/// The person is a contact of the client already.
pub(crate) fn duplicate_contact(existing: RecordRef) -> ApiError {
    let id = existing.text();
    ApiError::new(
        Code::AlreadyExists,
        ErrorReason::DuplicateContact,
        format!("the person already is a contact of the client: {id}"),
    )
    .with("existing", id)
}

/// The fencing token of the call is older than the last one of the import.
pub(crate) fn stale_worker() -> ApiError {
    ApiError::new(
        Code::Aborted,
        ErrorReason::StaleWorker,
        "a later call of this import was made meanwhile; this one was not applied",
    )
}

/// The caller's product is not connected to the practice.
pub(crate) fn not_connected(product: &str) -> ApiError {
    ApiError::new(
        Code::FailedPrecondition,
        ErrorReason::ProductNotConnected,
        format!(
            "{product} is not connected to this practice; an owner or admin can ConnectProduct"
        ),
    )
    .precondition(product, "ConnectProduct first")
}

/// The caller's product is not linked to the record.
pub(crate) fn not_linked(record: RecordRef) -> ApiError {
    let id = record.text();
    ApiError::new(
        Code::FailedPrecondition,
        ErrorReason::NotLinked,
        format!("your product is not linked to {id}; only linked products change a record"),
    )
    .precondition(&id, "link the record to your product first")
}
