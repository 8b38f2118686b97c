//! What is wrong with a record, as it is kept and listed.

use shared::{
    pb::records::ErrorReason,
    rules::{Violation, reason_code},
};

use super::words::{Kind, Severity};

/// At most this many names are quoted in one text.
pub(crate) const MAX_NAMES: usize = 5;

/// The text of a record of a Self-Assessment client.
const EXCLUDED_TEXT: &str = "Client type is Self-Assessment";

/// One violation of one record, a warning of it, or the reason to skip or exclude
/// it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The name of the field, as the column of a CSV file has it.
    pub(crate) field: String,
    /// The reason code.
    pub(crate) reason: String,
    /// The reason for people.
    pub(crate) text: String,
    /// Of a blocked record: what went wrong with the first of the chain.
    pub(crate) root_cause: String,
    /// Whether the record is taken all the same.
    pub(crate) severity: Severity,
}

impl Finding {
    /// A finding without a root cause.
    pub(crate) fn new(field: &str, reason: ErrorReason, text: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            reason: reason_code(reason).to_owned(),
            text: text.into(),
            root_cause: String::new(),
            severity: Severity::Error,
        }
    }

    /// Something that is wrong with a record, and does not fail it.
    pub(crate) fn warning(violation: Violation) -> Self {
        Self { severity: Severity::Warning, ..Self::from(violation) }
    }

    /// The record is Self-Assessment, or hangs on such a client alone.
    pub(crate) fn excluded(field: &str) -> Self {
        Self::new(field, ErrorReason::ClientTypeExcluded, EXCLUDED_TEXT)
    }

    /// The record is larger than a record may be: `limit` bytes.
    pub(crate) fn too_large(size: u64, limit: u64) -> Self {
        let text = format!("Record has {size} bytes, and a record may have {limit}");
        Self::new("", ErrorReason::RecordTooLarge, text)
    }

    /// The same record came before.
    pub(crate) fn repeated(source_id: &str) -> Self {
        let text = format!("Source id {source_id} came more than once with the same values");
        Self::new("source_id", ErrorReason::DuplicateInImport, text)
    }

    /// The source id is used by records that differ.
    pub(crate) fn contradicts(source_id: &str, records: i64) -> Self {
        let text =
            format!("Source id {source_id} is used by {records} records with different values");
        Self::new("source_id", ErrorReason::DuplicateKey, text)
    }

    /// A replacement stands in for a record that did not fail.
    pub(crate) fn not_failed(source_id: &str) -> Self {
        let text = format!("Record {source_id} did not fail: what was imported is not touched");
        Self::new("source_id", ErrorReason::NotFailed, text)
    }

    /// A replacement stands in for a record that the import does not have.
    pub(crate) fn not_in_import(source_id: &str) -> Self {
        let text = match source_id {
            "" => "A record without a source id needs the row token of the one that it \
                   replaces, or a new import"
                .to_owned(),
            _ => format!("Record {source_id} is not in this import: it needs a new import"),
        };
        Self::new("source_id", ErrorReason::NotInImport, text)
    }

    /// The reference is used by other clients of the import.
    pub(crate) fn shared_reference(reference: &str, others: &[String], more: bool) -> Self {
        let others = match others {
            [] => "another record of this import".to_owned(),
            _ => names(others, more),
        };
        let text = format!("Client reference {reference} is already used by {others}");
        Self::new("client_reference", ErrorReason::DuplicateReference, text)
    }

    /// The period overlaps those of other addresses.
    pub(crate) fn overlap(others: &[String], more: bool) -> Self {
        let which = if others.len() == 1 && !more { "one" } else { "ones" };
        let text = format!("Period overlaps the {which} of {}", names(others, more));
        Self::new("active_from", ErrorReason::PeriodOverlap, text)
    }

    /// The record was erased after it was uploaded.
    pub(crate) fn erased() -> Self {
        let text = "Record was erased after it was uploaded";
        Self::new("", ErrorReason::RecordErased, text)
    }

    /// The records service cannot take the record, and cannot say why.
    pub(crate) fn internal() -> Self {
        Self::new("", ErrorReason::Internal, "The record could not be imported: internal error")
    }
}

impl From<Violation> for Finding {
    fn from(violation: Violation) -> Self {
        Self::new(&violation.field, violation.reason, violation.text)
    }
}

/// What a blocked record says about the first failure of its chain.
pub(crate) fn root_cause(kind: Kind, source_id: &str, text: &str) -> String {
    format!("{kind} {source_id}: {text}")
}

/// The field by which a record of `kind` names its parents.
pub(crate) fn parent_field(kind: Kind) -> &'static str {
    match kind {
        Kind::Contact => "client_source_id",
        Kind::Address => "owner_source_id",
        Kind::Client | Kind::Unknown => "source_id",
    }
}

fn names(names: &[String], more: bool) -> String {
    let shown = names.join(", ");
    if more { format!("{shown} and others") } else { shown }
}
