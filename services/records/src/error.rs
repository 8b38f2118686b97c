//! What a call to the records service can fail with.

use sea_orm::DbErr;
use shared::{
    db::{Fault, WriteError, fault, outage, plainly},
    pb::records::ErrorReason,
    rules::Violations,
    status::Refusal,
};
use tonic::{Code, Status};

use crate::domain::record::RecordRef;

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// The request is refused; the caller is told why. The log is not: the caller's
    /// values may be in it.
    #[error("refused: {:?}", .0.reason())]
    Refused(Refusal),
    /// The database failed.
    #[error("{}", plainly(.0))]
    Database(#[from] DbErr),
    /// A unique key is used already.
    #[error("a unique key is used already: {0:?}")]
    Taken(Taken),
    /// Another writer was first; tried again, its work will be seen.
    #[error("another writer was first")]
    Raced,
    /// Not an error: the request was only to be checked, its transaction is
    /// undone, and this is the answer.
    #[error("only checked")]
    OnlyChecked(Vec<u8>),
    /// A row cannot be read: a fault of ours.
    #[error("a row cannot be read: {0}")]
    Corrupt(&'static str),
}

/// What a unique key keeps from being there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A client reference in a practice.
    Reference,
    /// A person at a client.
    Place,
    /// An external id of an account of a product.
    ExternalId,
    /// A link of an account of a product to a record.
    Link,
}

impl RecordError {
    /// Whether the database cannot be reached just now.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Database(error) if fault(error) == Fault::Unavailable)
    }

    /// For a script that looks before it writes: what is taken now was not there
    /// when it looked, and another look will find it.
    pub(crate) fn or_raced(self) -> Self {
        match self {
            Self::Taken(_) => Self::Raced,
            other => other,
        }
    }
}

impl From<Refusal> for RecordError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Violations> for RecordError {
    fn from(violations: Violations) -> Self {
        Refusal::from(violations).into()
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
            Self::Database(error) => fault(error) == Fault::Conflict,
            Self::Raced => true,
            Self::Refused(_) | Self::Taken(_) | Self::OnlyChecked(_) | Self::Corrupt(_) => false,
        }
    }
}

impl RecordError {
    /// What the caller is told.
    pub(crate) fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Taken(Taken::ExternalId | Taken::Link) => duplicate_external_id(),
            Self::Raced | Self::Taken(_) => Refusal::conflict(),
            Self::Database(error) => match fault(&error) {
                Fault::Conflict | Fault::Duplicate => Refusal::conflict(),
                Fault::Unavailable => {
                    Refusal::unavailable(outage(&error).unwrap_or_default().text())
                }
                Fault::Other => Refusal::internal(&plainly(&error)),
            },
            error @ (Self::Corrupt(_) | Self::OnlyChecked(_)) => Refusal::internal(&error),
        }
    }
}

impl From<RecordError> for Status {
    fn from(error: RecordError) -> Self {
        error.into_refusal().into()
    }
}

/// The reference belongs to another client.
pub(crate) fn duplicate_reference(existing: RecordRef) -> Refusal {
    let id = existing.text();
    Refusal::new(
        Code::AlreadyExists,
        ErrorReason::DuplicateReference,
        format!(
            "the client reference is already used by {id}; link that client, or choose another"
        ),
    )
    .with("existing", id)
}

/// The external id belongs to another record of the product.
pub(crate) fn duplicate_external_id() -> Refusal {
    Refusal::new(
        Code::AlreadyExists,
        ErrorReason::DuplicateExternalId,
        "the external id already names a record of this product and account",
    )
}

/// The person has a place at the client already.
pub(crate) fn duplicate_contact(existing: RecordRef) -> Refusal {
    let id = existing.text();
    Refusal::new(
        Code::AlreadyExists,
        ErrorReason::DuplicateContact,
        format!("the person already is a contact of the client: {id}"),
    )
    .with("existing", id)
}

/// A later call of the import was there already.
pub(crate) fn stale_worker() -> Refusal {
    Refusal::new(
        Code::Aborted,
        ErrorReason::StaleWorker,
        "a later call of this import was made meanwhile; this one was not carried out",
    )
}

/// The caller's product is not connected to the practice.
pub(crate) fn not_connected(product: &str) -> Refusal {
    Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::ProductNotConnected,
        format!(
            "{product} is not connected to this practice; an owner or admin can ConnectProduct"
        ),
    )
    .precondition(product, "ConnectProduct first")
}

/// The caller's product is not linked to the record.
pub(crate) fn not_linked(record: RecordRef) -> Refusal {
    let id = record.text();
    Refusal::new(
        Code::FailedPrecondition,
        ErrorReason::NotLinked,
        format!("your product is not linked to {id}; only linked products change a record"),
    )
    .precondition(&id, "link the record to your product first")
}
