//! What a call to the imports service can fail with, and what each refusal says.

use std::time::Duration;

use sea_orm::DbErr;
use shared::{
    db::{Fault, WriteError, fault, outage, plainly},
    ids::{self, IdKind},
    jobs::JobError,
    pb::records::ErrorReason,
    status::{Refusal, quoted},
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::domain::{
    batch::BatchFault,
    import::Undeclared,
    words::{State, UnknownWord},
};

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The request is refused; the caller is told why. The log is not: the caller's
    /// values may be in it.
    #[error("refused: {:?}", .0.reason())]
    Refused(Box<Refusal>),
    /// The database failed.
    #[error("{}", plainly(.0))]
    Database(#[from] DbErr),
    /// The stream of the caller broke.
    #[error("the caller's stream broke: {}", .0.code())]
    Stream(Box<Status>),
    /// A row cannot be read: a fault of ours.
    #[error("a row cannot be read: {0}")]
    Corrupt(&'static str),
}

impl From<Refusal> for ImportError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<BatchFault> for ImportError {
    fn from(fault: BatchFault) -> Self {
        batch_refused(&fault).into()
    }
}

impl From<UnknownWord> for ImportError {
    fn from(_: UnknownWord) -> Self {
        Self::Corrupt("a word that is not known")
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
    fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Database(error) if matches!(fault(error), Fault::Unavailable | Fault::Conflict)
        )
    }
}

impl From<ImportError> for Status {
    fn from(error: ImportError) -> Self {
        let refusal = match error {
            ImportError::Refused(refusal) => *refusal,
            ImportError::Stream(status) => return *status,
            ImportError::Database(error) => match fault(&error) {
                Fault::Conflict | Fault::Duplicate => Refusal::conflict(),
                Fault::Unavailable => {
                    Refusal::unavailable(outage(&error).unwrap_or_default().text())
                }
                Fault::Other => Refusal::internal(&plainly(&error)),
            },
            ImportError::Corrupt(_) => Refusal::internal(&error),
        };
        refusal.into()
    }
}

/// No such import in the caller's practice.
pub(crate) fn import_not_found(id: Uuid) -> Refusal {
    Refusal::not_found("import", &ids::text(IdKind::Import, id))
}

/// The product is not connected to the practice.
pub(crate) fn not_connected(product: &str) -> Refusal {
    Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::ProductNotConnected,
        format!("{product} is not connected to this practice: call ConnectProduct first"),
    )
    .precondition(product, "ConnectProduct first")
}

/// The import is that of another product or account.
pub(crate) fn other_product(product: &str, account: &str) -> Refusal {
    Refusal::new(
        Code::PermissionDenied,
        ErrorReason::OtherProduct,
        format!("this import belongs to {product}, account {account}: only that may change it"),
    )
    .with("product", product)
    .with("account", account)
}

/// No such batch in the import: it was not staged.
pub(crate) fn batch_not_found(batch_key: &str) -> Refusal {
    Refusal::not_found("batch", batch_key)
}

/// The import is not where this can be done.
pub(crate) fn wrong_state(id: Uuid, state: State, needed: &str) -> Refusal {
    let import = ids::text(IdKind::Import, id);
    Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::ImportState,
        format!("the import is {state}; it must be {needed}"),
    )
    .with("state", state.as_str())
    .precondition(&import, format!("the import must be {needed}"))
}

/// A retry of a round that is not the next one.
pub(crate) fn wrong_round(id: Uuid, round: i64, asked: i64) -> Refusal {
    let import = ids::text(IdKind::Import, id);
    let next = round + 1;
    Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::ImportState,
        format!("the import is in round {round}: the next one is {next}, and not {asked}"),
    )
    .with("round", round.to_string())
    .precondition(&import, format!("the import must be in round {}", asked - 1))
}

/// What was uploaded is not kept any longer.
pub(crate) fn purged(id: Uuid) -> Refusal {
    let import = ids::text(IdKind::Import, id);
    Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::ImportState,
        "the records of this import are kept for 30 days, and were removed: create another import",
    )
    .precondition(&import, "the import must have ended less than 30 days ago")
}

/// No new batch can be taken any more.
pub(crate) fn not_receiving(id: Uuid, state: State) -> Refusal {
    let import = ids::text(IdKind::Import, id);
    Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::ImportState,
        format!(
            "the import was sealed and takes no new batch; it is {state}: create another import"
        ),
    )
    .with("state", state.as_str())
    .precondition(&import, "the import must be RECEIVING")
}

/// The batch key names a batch with other content.
pub(crate) fn batch_key_reused(batch_key: &str) -> Refusal {
    Refusal::new(
        Code::AlreadyExists,
        ErrorReason::BatchKeyReused,
        format!("batch {} was staged with other content: use another key", quoted(batch_key)),
    )
    .with("batch_key", quoted(batch_key))
}

/// The import has said which batches it is to hold, and this is none of them.
pub(crate) fn batch_not_declared(batch_key: &str, why: Undeclared) -> Refusal {
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
    Refusal::new(Code::FailedPrecondition, ErrorReason::BatchNotDeclared, text)
        .with("batch_key", &key)
        .precondition("expected", "upload only the batches that were declared")
}

/// The counts of a seal are not what arrived.
pub(crate) fn counts_differ(differences: &[(&'static str, i64, i64)]) -> Refusal {
    let told = differences.iter().map(|(subject, expected, arrived)| {
        let what = match *subject {
            "batch_count" => "batches",
            "client_count" => "clients",
            "contact_count" => "contacts",
            "address_count" => "addresses",
            _ => "records",
        };
        format!("{expected} {what} were announced and {arrived} arrived")
    });
    let told = told.collect::<Vec<_>>().join("; ");
    let refusal = Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::CountsDiffer,
        format!("what arrived is not what was announced: {told}; upload what is missing"),
    );
    differences.iter().fold(refusal, |refusal, (subject, expected, arrived)| {
        refusal.precondition(subject, format!("expected {expected}, arrived {arrived}"))
    })
}

/// Too many batches arrive at this moment.
pub(crate) fn too_many_uploads(limit: u64) -> Refusal {
    Refusal::limit_reached(
        "uploads",
        format!(
            "{limit} batches are being uploaded already, or the share of the product in this \
             practice; send this one again in a moment"
        ),
        Duration::from_secs(1),
    )
}

/// The practice has too many imports that were never sealed.
pub(crate) fn too_many_open(limit: u64) -> Refusal {
    Refusal::limit_reached(
        "open imports",
        format!(
            "the practice has {limit} imports that were not sealed yet; seal one of them first"
        ),
        Duration::from_mins(1),
    )
}

/// The records service does not answer.
pub(crate) fn records_unavailable() -> Refusal {
    Refusal::unavailable("the records service does not answer")
}

fn batch_refused(fault: &BatchFault) -> Refusal {
    let invalid = |field: &str, reason| Refusal::invalid_field(field, reason, fault.to_string());
    match fault {
        BatchFault::TooLarge { field, .. } => invalid(field, ErrorReason::BatchTooLarge),
        BatchFault::TooManyRecords { field, .. } => {
            invalid(field, ErrorReason::BatchTooManyRecords)
        }
        BatchFault::FrameTooLarge => invalid("frame.records", ErrorReason::FrameTooLarge),
        BatchFault::Mismatch { what, expected, arrived } => {
            invalid("commit", ErrorReason::BatchMismatch)
                .with("what", *what)
                .with("expected", expected)
                .with("arrived", arrived)
        }
        BatchFault::Incomplete
        | BatchFault::Late { .. }
        | BatchFault::Idle { .. }
        | BatchFault::Slow { .. } => {
            Refusal::new(Code::Aborted, ErrorReason::BatchIncomplete, fault.to_string())
        }
        BatchFault::OutOfOrder(_) => {
            Refusal::new(Code::InvalidArgument, ErrorReason::BatchOutOfOrder, fault.to_string())
        }
    }
}
