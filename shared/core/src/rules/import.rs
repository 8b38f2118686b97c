//! Parsing of the records of an import. All fields are text; each record is validated
//! independently.
//!
//! [`parse`] returns the kind of a record, its parents, and the result of the field rules.
//! Rules across records (duplicates, missing parents, overlapping addresses) are checked
//! elsewhere. The fields of violations are the columns of the CSV files.

mod address;
mod client;
mod contact;
mod digest;

use chrono::NaiveDate;
use prost::Message as _;

use digest::Canonical;

use super::{
    draft::{self, AddressDraft, ClientDraft, PersonDraft},
    identifier, text,
    violation::{FieldViolations, ValueError},
    warning,
};
use concord_proto::pb::{
    imports::{ImportRecord, ImportRecordKind, import_record::Record},
    records::{AddressType, ErrorReason, Role},
};

/// The result of parsing one record of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRecord {
    /// The kind; unspecified if the record could not be decoded.
    pub kind: ImportRecordKind,
    /// The normalised id that the product assigned: the key of the record. Empty if it is
    /// blank, too long or contains a forbidden character.
    pub source_id: String,
    /// SHA-256 of the normalised fields. The order and repetition of clients and roles do not
    /// matter.
    pub digest: [u8; 32],
    /// True for a client of the type Self-Assessment, which is not imported. Its other fields
    /// are not validated. A record without a source id fails and is not excluded.
    pub excluded: bool,
    /// The key of the reference of a client that is not excluded.
    pub reference_key: Option<String>,
    /// The parents by source id, sorted and without duplicates: the clients of a contact, the
    /// owner of an address. Only those with valid ids.
    pub parents: Vec<(ImportRecordKind, String)>,
    /// The slot of an address on the timeline of its owner. Present if type and period are
    /// valid, even if other fields are not.
    pub address_slot: Option<AddressSlot>,
    /// The display name: the name of a client or contact, the label of the type of an
    /// address.
    pub record_name: String,
    /// The reference of a client, for display.
    pub own_reference: String,
    /// The record if its fields are valid, otherwise all violations, in the order of the
    /// columns.
    pub outcome: Result<ImportDraft, FieldViolations>,
    /// Warnings: values that are accepted with a defect, and invalid values that are left out
    /// of the record. Empty for an excluded record.
    pub warnings: FieldViolations,
}

/// The slot of an address on the timeline of its owner and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressSlot {
    /// The type of the address.
    pub address_type: AddressType,
    /// The first day; `None` if unknown.
    pub active_from: Option<NaiveDate>,
    /// The day after the last day; `None` if blank.
    pub active_to: Option<NaiveDate>,
}

/// A validated record of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "few exist at a time, and each is destructured soon")]
pub enum ImportDraft {
    /// A client.
    Client {
        /// The client, with the e-mail address and telephone number of the record.
        client: ClientDraft,
        /// The person of a client of the type individual.
        individual: Option<PersonDraft>,
    },
    /// One person with its roles at clients.
    Contact {
        /// The person.
        person: PersonDraft,
        /// At least one; sorted by source id, each client once.
        clients: Vec<ClientRoles>,
    },
    /// An address.
    Address {
        /// The kind of the owner.
        owner: OwnerKind,
        /// The source id of the owner.
        owner_source_id: String,
        /// The address.
        address: AddressDraft,
    },
}

/// The roles of a contact at one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientRoles {
    /// The source id of the client.
    pub client_source_id: String,
    /// At least one; sorted, without duplicates.
    pub roles: Vec<Role>,
}

/// The kind of the owner of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerKind {
    /// A client; `client` in the file.
    Client,
    /// The person of a contact; `contact` in the file.
    Contact,
}

impl OwnerKind {
    /// The record kind of the owner.
    pub fn record_kind(self) -> ImportRecordKind {
        match self {
            Self::Client => ImportRecordKind::Client,
            Self::Contact => ImportRecordKind::Contact,
        }
    }
}

/// Parses and validates one record.
pub fn parse(record: &ImportRecord) -> ParsedRecord {
    match &record.record {
        Some(Record::Client(client)) => client::parse(client),
        Some(Record::Contact(contact)) => contact::parse(contact),
        Some(Record::Address(address)) => address::parse(address),
        None => unreadable(&[]),
    }
}

/// Decodes, parses and validates one record. A record that cannot be decoded or has no kind
/// has the violation `UNREADABLE_RECORD` of the field "".
pub fn parse_bytes(bytes: &[u8]) -> ParsedRecord {
    match ImportRecord::decode(bytes) {
        Ok(record) if record.record.is_some() => parse(&record),
        _ => unreadable(bytes),
    }
}

fn unreadable(bytes: &[u8]) -> ParsedRecord {
    let mut violations = FieldViolations::new();
    let text = "Record could not be read: it is not a client, a contact or an address";
    violations.push("", ErrorReason::UnreadableRecord, text);
    ParsedRecord {
        kind: ImportRecordKind::Unspecified,
        source_id: String::new(),
        digest: digest::of_bytes(bytes),
        excluded: false,
        reference_key: None,
        parents: Vec::new(),
        address_slot: None,
        record_name: String::new(),
        own_reference: String::new(),
        outcome: Err(violations),
        warnings: FieldViolations::new(),
    }
}

/// Parses the source id of the record. On an error, records the violation and returns an
/// empty id.
fn own_source_id(violations: &mut FieldViolations, text: &str) -> String {
    violations.field("source_id", draft::source_id("Source id", text)).unwrap_or_default()
}

/// Parses the e-mail address of a record. An invalid one is left out with a warning.
fn email(
    violations: &mut FieldViolations,
    warnings: &mut FieldViolations,
    text: &str,
) -> Vec<String> {
    warning::value_or_warning(violations, warnings, ("email", text), identifier::email)
        .into_iter()
        .collect()
}

/// Parses the telephone number of a record. An invalid one is left out with a warning.
fn phone(
    violations: &mut FieldViolations,
    warnings: &mut FieldViolations,
    text: &str,
) -> Vec<String> {
    warning::value_or_warning(violations, warnings, ("phone", text), draft::phone)
        .into_iter()
        .collect()
}

/// Warns of damaged text in fields without invisible characters.
fn damaged<const N: usize>(warnings: &mut FieldViolations, fields: [(&str, &str, &str); N]) {
    for (field, label, text) in fields {
        warning::damaged(warnings, field, label, text);
    }
}

/// Checks a field that does not apply to the record: any text that can be stored is valid.
fn ignored(violations: &mut FieldViolations, field: &str, label: &str, value: &str) {
    violations.field(field, text::check_characters(label, value));
}

/// The value of a required field.
fn given<T>(label: &str, read: Result<Option<T>, ValueError>) -> Result<T, ValueError> {
    read?.ok_or_else(|| text::blank(label))
}

/// The first of `names` that is not blank, shortened for display.
fn first_name<const N: usize>(names: [&str; N]) -> String {
    let shown = names.into_iter().map(|name| text::shorten(name, text::MAX_NAME));
    shown.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
