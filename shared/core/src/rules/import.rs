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
mod fields;
mod record;

use prost::Message as _;

pub use record::{AddressSlot, ClientRoles, ImportDraft, OwnerKind, ParsedRecord};

use super::violation::FieldViolations;
use concord_proto::pb::{
    imports::{ImportRecord, ImportRecordKind, import_record::Record},
    records::ErrorReason,
};

/// Parses and validates one record.
pub fn parse(record: &ImportRecord) -> ParsedRecord {
    match &record.record {
        Some(Record::Client(client)) => client::parse(client),
        Some(Record::Contact(contact)) => contact::parse(contact),
        Some(Record::Address(address)) => address::parse(address),
        None => unreadable(),
    }
}

/// Decodes, parses and validates one record. A record that cannot be decoded or has no kind
/// has the violation `UNREADABLE_RECORD` of the field "".
pub fn parse_bytes(bytes: &[u8]) -> ParsedRecord {
    match ImportRecord::decode(bytes) {
        Ok(record) if record.record.is_some() => parse(&record),
        _ => unreadable(),
    }
}

/// As [`parse_bytes`], with the [`digest`] of the record. The bytes are the digest's input if
/// they cannot be decoded.
pub fn parse_with_digest(bytes: &[u8]) -> (ParsedRecord, [u8; 32]) {
    match ImportRecord::decode(bytes) {
        Ok(record) if record.record.is_some() => (parse(&record), digest(&record)),
        _ => (unreadable(), digest::of_bytes(bytes)),
    }
}

/// SHA-256 of the normalised fields. The order and repetition of clients and roles do not
/// matter.
pub fn digest(record: &ImportRecord) -> [u8; 32] {
    match &record.record {
        Some(Record::Client(client)) => client::digest(client),
        Some(Record::Contact(contact)) => contact::digest(contact),
        Some(Record::Address(address)) => address::digest(address),
        None => digest::of_bytes(&[]),
    }
}

fn unreadable() -> ParsedRecord {
    let mut violations = FieldViolations::new();
    let text = "Record could not be read: it is not a client, a contact or an address";
    violations.push("", ErrorReason::UnreadableRecord, text);
    ParsedRecord {
        kind: ImportRecordKind::Unspecified,
        source_id: String::new(),
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

#[cfg(test)]
mod tests;
