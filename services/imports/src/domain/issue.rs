//! Issues of records: violations, warnings, and reasons to skip or exclude, as they are
//! stored and listed.
//!
//! The texts of issues that this service finds between records are here. Those of one
//! field are in [`concord_core::rules`]. Conflicts with stored records come with the answer
//! of the records service.

use concord_core::rules::{FieldViolation, reason_code};
use concord_proto::pb::records::ErrorReason;

use super::enums::{Kind, Severity};

/// Maximum number of names that one text quotes.
pub(crate) const MAX_NAMES: usize = 5;

/// The text of a record that depends on an excluded Self-Assessment client.
const EXCLUDED_TEXT: &str = "Client type is Self-Assessment";

/// One violation of a record, one warning, or the reason to skip or exclude it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordIssue {
    /// The name of the field, as the column of a CSV file.
    pub(crate) field: String,
    /// The reason code.
    pub(crate) reason: String,
    /// The reason, as users read it.
    pub(crate) text: String,
    /// Of a blocked record: the first failure in the chain of its parents.
    pub(crate) root_cause: String,
    /// Whether the record is accepted despite the issue.
    pub(crate) severity: Severity,
}

impl RecordIssue {
    /// An error without a root cause.
    pub(crate) fn new(field: &str, reason: ErrorReason, text: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            reason: reason_code(reason).to_owned(),
            text: text.into(),
            root_cause: String::new(),
            severity: Severity::Error,
        }
    }

    /// A warning: the record is accepted.
    pub(crate) fn warning(violation: FieldViolation) -> Self {
        Self { severity: Severity::Warning, ..Self::from(violation) }
    }

    /// The record is a Self-Assessment client, or belongs to such clients only.
    pub(crate) fn excluded(field: &str) -> Self {
        Self::new(field, ErrorReason::ClientTypeExcluded, EXCLUDED_TEXT)
    }

    /// The record exceeds the size limit of `limit` bytes.
    pub(crate) fn too_large(size: u64, limit: u64) -> Self {
        let text = format!("Record has {size} bytes, and a record may have {limit}");
        Self::new("", ErrorReason::RecordTooLarge, text)
    }

    /// An equal record with the same source id was uploaded before.
    pub(crate) fn duplicate(source_id: &str) -> Self {
        let text = format!("Source id {source_id} came more than once with the same values");
        Self::new("source_id", ErrorReason::DuplicateInImport, text)
    }

    /// Records with different values share the source id.
    pub(crate) fn conflicting(source_id: &str, records: i64) -> Self {
        let text =
            format!("Source id {source_id} is used by {records} records with different values");
        Self::new("source_id", ErrorReason::DuplicateKey, text)
    }

    /// A replacement refers to a record that did not fail.
    pub(crate) fn not_failed(source_id: &str) -> Self {
        let text = format!("Record {source_id} did not fail: what was imported is not touched");
        Self::new("source_id", ErrorReason::NotFailed, text)
    }

    /// A replacement refers to a record that is not in the import.
    pub(crate) fn not_in_import(source_id: &str) -> Self {
        let text = match source_id {
            "" => "A record without a source id needs the row token of the one that it \
                   replaces, or a new import"
                .to_owned(),
            _ => format!("Record {source_id} is not in this import: it needs a new import"),
        };
        Self::new("source_id", ErrorReason::NotInImport, text)
    }

    /// Other clients of the import use the reference.
    pub(crate) fn shared_reference(reference: &str, others: &[String], more: bool) -> Self {
        let others = match others {
            [] => "another record of this import".to_owned(),
            _ => names(others, more),
        };
        let text = format!("Client reference {reference} is already used by {others}");
        Self::new("client_reference", ErrorReason::DuplicateReference, text)
    }

    /// The period overlaps the periods of other addresses.
    pub(crate) fn overlap(others: &[String], more: bool) -> Self {
        let which = if others.len() == 1 && !more { "one" } else { "ones" };
        let text = format!("Period overlaps the {which} of {}", names(others, more));
        Self::new("active_from", ErrorReason::PeriodOverlap, text)
    }

    /// The owner has more addresses of one type than `limit`.
    pub(crate) fn too_many_addresses(limit: usize) -> Self {
        let text = format!("An owner has at most {limit} addresses of one type");
        Self::new("owner_source_id", ErrorReason::ValueTooLong, text)
    }

    /// A parent is neither in the import nor linked. `field` refers to the parents.
    pub(crate) fn parent_not_found(field: &str, source_id: &str) -> Self {
        let text = format!("Parent record was not found: {source_id}");
        Self::new(field, ErrorReason::ParentNotFound, text)
    }

    /// A parent failed or is blocked. `root_cause` is the first failure in the chain of
    /// parents.
    pub(crate) fn parent_failed(field: &str, name: &str, root_cause: String) -> Self {
        let text = format!("Parent record could not be imported: {name}");
        Self { root_cause, ..Self::new(field, ErrorReason::ParentFailed, text) }
    }

    /// The record was erased after it was uploaded.
    pub(crate) fn erased() -> Self {
        let text = "Record was erased after it was uploaded";
        Self::new("", ErrorReason::RecordErased, text)
    }

    /// The records service failed for this record without a reason.
    pub(crate) fn internal() -> Self {
        Self::new("", ErrorReason::Internal, "The record could not be imported: internal error")
    }
}

impl From<FieldViolation> for RecordIssue {
    fn from(violation: FieldViolation) -> Self {
        Self::new(&violation.field, violation.reason, violation.text)
    }
}

/// The root cause that a blocked record reports: the first failure in the chain of its
/// parents.
pub(crate) fn root_cause(kind: Kind, source_id: &str, text: &str) -> String {
    format!("{kind} {source_id}: {text}")
}

/// The field in which a record of `kind` refers to its parents.
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
