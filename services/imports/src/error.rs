//! The errors of the imports service: of its start and of its calls, and the texts of the API
//! errors.

use std::time::Duration;

use concord_core::{
    ids::{self, IdKind},
    status::{ApiError, quoted},
};
use concord_db::{DbErrorKind, SchemaError, WriteError, error_kind, outage, redacted};
use concord_proto::pb::records::ErrorReason;
use concord_server::{
    MetricsPortError, ServeError, jobs::JobError, reach::UrlError, security::InsecureStart,
};
use sea_orm::DbErr;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::domain::{batch::BatchError, enums::State, import::Undeclared};

/// The service did not start, or stopped with an error.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is insecure.
    #[error(transparent)]
    Insecure(#[from] InsecureStart),
    /// The URL of the records service is invalid.
    #[error("the URL of the records service (--records): {0}")]
    RecordsUrl(#[from] UrlError),
    /// The TLS certificates for the records service are unusable.
    #[error("the certificates for the records service (--records-ca, --tls-cert, --tls-key): {0}")]
    RecordsTls(#[from] tonic::transport::Error),
    /// The database is unusable.
    #[error("the database of the imports service: {0}")]
    Database(#[from] DbErr),
    /// The schema does not match this program.
    #[error("the database of the imports service: {0}")]
    Schema(#[from] SchemaError),
    /// Binding the address failed.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
    /// Binding the metrics port failed.
    #[error(transparent)]
    Metrics(#[from] MetricsPortError),
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The request is rejected. Only the caller gets the details: they may contain
    /// values of the request, which must not be logged.
    #[error("rejected: {:?}", .0.reason())]
    Rejected(Box<ApiError>),
    /// A database error.
    #[error("{}", redacted(.0))]
    Database(#[from] DbErr),
    /// The request stream failed.
    #[error("the request stream failed: {}", .0.code())]
    Stream(Box<Status>),
    /// A stored row cannot be read: an internal error.
    #[error("unreadable row: {0}")]
    Corrupt(&'static str),
}

impl From<ApiError> for ImportError {
    fn from(error: ApiError) -> Self {
        Self::Rejected(Box::new(error))
    }
}

impl From<BatchError> for ImportError {
    fn from(error: BatchError) -> Self {
        batch_rejected(&error).into()
    }
}

impl From<strum::ParseError> for ImportError {
    fn from(_: strum::ParseError) -> Self {
        Self::Corrupt("unknown value")
    }
}

impl WriteError for ImportError {
    fn database(&self) -> Option<&DbErr> {
        match self {
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

impl JobError for ImportError {
    fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Database(error)
                if matches!(error_kind(error), DbErrorKind::Unavailable | DbErrorKind::Conflict)
        )
    }
}

impl From<ImportError> for Status {
    fn from(error: ImportError) -> Self {
        let api_error = match error {
            ImportError::Rejected(error) => *error,
            ImportError::Stream(status) => return *status,
            ImportError::Database(error) => match error_kind(&error) {
                DbErrorKind::Conflict | DbErrorKind::Duplicate => ApiError::conflict(),
                DbErrorKind::Unavailable => {
                    ApiError::unavailable(outage(&error).unwrap_or_default().text())
                }
                DbErrorKind::Other => ApiError::internal(&redacted(&error)),
            },
            ImportError::Corrupt(_) => ApiError::internal(&error),
        };
        api_error.into()
    }
}

/// No such import in the caller's practice.
pub(crate) fn import_not_found(id: Uuid) -> ApiError {
    ApiError::not_found("import", &ids::text(IdKind::Import, id))
}

/// The product is not connected to the practice.
pub(crate) fn not_connected(product: &str) -> ApiError {
    ApiError::new(
        Code::FailedPrecondition,
        ErrorReason::ProductNotConnected,
        format!("{product} is not connected to this practice: call ConnectProduct first"),
    )
    .precondition(product, "ConnectProduct first")
}

/// The import belongs to another product or account.
pub(crate) fn other_product(product: &str, account: &str) -> ApiError {
    ApiError::new(
        Code::PermissionDenied,
        ErrorReason::OtherProduct,
        format!("this import belongs to {product}, account {account}: only that may change it"),
    )
    .with("product", product)
    .with("account", account)
}

/// No such batch was staged in the import.
pub(crate) fn batch_not_found(batch_key: &str) -> ApiError {
    ApiError::not_found("batch", batch_key)
}

/// The import is not as the call needs it to be.
fn unmet(id: Uuid, text: impl Into<String>, needed: impl Into<String>) -> ApiError {
    ApiError::new(Code::FailedPrecondition, ErrorReason::ImportState, text)
        .precondition(&ids::text(IdKind::Import, id), needed)
}

/// The state of the import does not allow the call.
pub(crate) fn wrong_state(id: Uuid, state: State, needed: &str) -> ApiError {
    let text = format!("the import is {state}; it must be {needed}");
    unmet(id, text, format!("the import must be {needed}")).with("state", state.as_str())
}

/// The requested round is not the next one.
pub(crate) fn wrong_round(id: Uuid, round: i64, asked: i64) -> ApiError {
    let next = round + 1;
    let text = format!("the import is in round {round}: the next one is {next}, and not {asked}");
    unmet(id, text, format!("the import must be in round {}", asked - 1))
        .with("round", round.to_string())
}

/// The uploads of the import were purged.
pub(crate) fn purged(id: Uuid) -> ApiError {
    let text =
        "the records of this import are kept for 30 days, and were removed: create another import";
    unmet(id, text, "the import must have ended less than 30 days ago")
}

/// The import accepts no new batches.
pub(crate) fn not_receiving(id: Uuid, state: State) -> ApiError {
    let text = format!(
        "the import was sealed and takes no new batch; it is {state}: create another import"
    );
    unmet(id, text, "the import must be RECEIVING").with("state", state.as_str())
}

/// The batch key was reused with different content.
pub(crate) fn batch_key_reused(batch_key: &str) -> ApiError {
    ApiError::new(
        Code::AlreadyExists,
        ErrorReason::BatchKeyReused,
        format!("batch {} was staged with other content: use another key", quoted(batch_key)),
    )
    .with("batch_key", quoted(batch_key))
}

/// The batch is not part of the declared content of the import.
pub(crate) fn batch_not_declared(batch_key: &str, why: Undeclared) -> ApiError {
    let key = quoted(batch_key);
    let text = match why {
        Undeclared::Key => format!(
            "batch {key} is none of those that were declared when the import was created: upload it \
             under its declared key, or create an import that declares it"
        ),
        Undeclared::Count(batches) => format!(
            "{batches} batches were declared when the import was created, and all of them are \
             there: batch {key} needs an import of its own, or one that declares more"
        ),
    };
    ApiError::new(Code::FailedPrecondition, ErrorReason::BatchNotDeclared, text)
        .with("batch_key", &key)
        .precondition("expected", "upload only the batches that were declared")
}

/// The counts of a seal differ from what arrived.
pub(crate) fn counts_differ(differences: &[(&'static str, i64, i64)]) -> ApiError {
    let details = differences.iter().map(|(subject, expected, arrived)| {
        let what = match *subject {
            "batch_count" => "batches",
            "client_count" => "clients",
            "contact_count" => "contacts",
            "address_count" => "addresses",
            _ => "records",
        };
        format!("{expected} {what} were announced and {arrived} arrived")
    });
    let details = details.collect::<Vec<_>>().join("; ");
    let error = ApiError::new(
        Code::FailedPrecondition,
        ErrorReason::CountsDiffer,
        format!("what arrived is not what was announced: {details}; upload what is missing"),
    );
    differences.iter().fold(error, |error, (subject, expected, arrived)| {
        error.precondition(subject, format!("expected {expected}, arrived {arrived}"))
    })
}

/// The limit on concurrent uploads is reached.
pub(crate) fn too_many_uploads(limit: u64) -> ApiError {
    ApiError::limit_reached(
        "uploads",
        format!(
            "{limit} batches are being uploaded already, or the share of the product in this \
             practice; send this one again in a moment"
        ),
        Duration::from_secs(1),
    )
}

/// The practice has too many unsealed imports.
pub(crate) fn too_many_open(limit: u64) -> ApiError {
    let text = format!(
        "the practice has {limit} imports that were not sealed yet; seal one of them first"
    );
    ApiError::limit_reached("open imports", text, Duration::from_mins(1))
}

/// The records service does not answer.
pub(crate) fn records_unavailable() -> ApiError {
    ApiError::unavailable("the records service does not answer")
}

fn batch_rejected(error: &BatchError) -> ApiError {
    let invalid = |field: &str, reason| ApiError::invalid_field(field, reason, error.to_string());
    match error {
        BatchError::TooLarge { field, .. } => invalid(field, ErrorReason::BatchTooLarge),
        BatchError::TooManyRecords { field, .. } => {
            invalid(field, ErrorReason::BatchTooManyRecords)
        }
        BatchError::FrameTooLarge => invalid("frame.records", ErrorReason::FrameTooLarge),
        BatchError::Mismatch { what, expected, arrived } => {
            invalid("commit", ErrorReason::BatchMismatch)
                .with("what", *what)
                .with("expected", expected)
                .with("arrived", arrived)
        }
        BatchError::Incomplete
        | BatchError::Late { .. }
        | BatchError::Idle { .. }
        | BatchError::Slow { .. } => {
            ApiError::new(Code::Aborted, ErrorReason::BatchIncomplete, error.to_string())
        }
        BatchError::OutOfOrder(_) => {
            ApiError::new(Code::InvalidArgument, ErrorReason::BatchOutOfOrder, error.to_string())
        }
    }
}
