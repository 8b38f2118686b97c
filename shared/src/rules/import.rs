//! The records of an import: all text, judged each by itself.
//!
//! [`parse`] says what a record is, what it hangs on, and whether its own fields
//! are right. How it stands to the other records (duplicates, missing parents,
//! overlapping addresses) is for whoever sees them all. Fields of violations are
//! the columns of the CSV files.

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
    violation::{Problem, Violations},
    warning,
};
use crate::pb::{
    imports::{ImportRecord, ImportRecordKind, import_record::Record},
    records::{AddressType, ErrorReason, Role},
};

/// What is known of one record of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRecord {
    /// What it is; unspecified when it could not be read.
    pub kind: ImportRecordKind,
    /// The product's own id, normalised: the key of the record. Empty when it is
    /// blank, too long, or holds a forbidden character.
    pub source_id: String,
    /// SHA-256 of the normalised fields. Equal records have equal digests,
    /// whatever the order of their clients and roles, and however often one is
    /// named.
    pub digest: [u8; 32],
    /// Whether it is of the client type Self-Assessment, which is not brought
    /// over. The other fields are not judged then; but a record without a source
    /// id has failed, and is not excluded.
    pub excluded: bool,
    /// Of a client that is not excluded: its reference as it is compared.
    pub reference_key: Option<String>,
    /// What it hangs on, by source id, sorted, each once: of a contact its
    /// clients, of an address its owner. Only those that are readable.
    pub parents: Vec<(ImportRecordKind, String)>,
    /// Of an address with a known type and readable dates, one after the other:
    /// its place on the timeline of its owner, whatever else is wrong.
    pub address_slot: Option<AddressSlot>,
    /// What people call it: of a client or contact its name, of an address the
    /// label of its type.
    pub record_name: String,
    /// Of a client: its reference, for people.
    pub own_reference: String,
    /// The record when its own fields are right, or everything that is wrong
    /// with it, in the order of the columns.
    pub outcome: Result<ImportDraft, Violations>,
    /// What is taken although it looks wrong, and what is left out of the record
    /// because it is wrong; of a record that is excluded none.
    pub warnings: Violations,
}

/// The place of an address on the timeline of its owner and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressSlot {
    /// What it is for.
    pub address_type: AddressType,
    /// The first day; `None` when it is not known.
    pub active_from: Option<NaiveDate>,
    /// The first day that it holds no longer; `None` when it was left blank.
    pub active_to: Option<NaiveDate>,
}

/// A record of an import whose own fields are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "few are alive at once, and each is taken apart soon"
)]
pub enum ImportDraft {
    /// A client.
    Client {
        /// The client, with the e-mail address and telephone number of the
        /// record.
        client: ClientDraft,
        /// The person of an individual, and only of one.
        individual: Option<PersonDraft>,
    },
    /// One person with its places.
    Contact {
        /// The person.
        person: PersonDraft,
        /// At least one, sorted by source id, each client once.
        clients: Vec<ContactPlace>,
    },
    /// An address.
    Address {
        /// What kind of record the owner is.
        owner: OwnerKind,
        /// The source id of the owner.
        owner_source_id: String,
        /// The address.
        address: AddressDraft,
    },
}

/// A person's place at one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContactPlace {
    /// The source id of the client.
    pub client_source_id: String,
    /// At least one, sorted, each once.
    pub roles: Vec<Role>,
}

/// What an address may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerKind {
    /// Of a client; `client` in the file.
    Client,
    /// Of a contact, and then of its person; `contact` in the file.
    Contact,
}

impl OwnerKind {
    /// The kind of record that the owner is.
    pub fn record_kind(self) -> ImportRecordKind {
        match self {
            Self::Client => ImportRecordKind::Client,
            Self::Contact => ImportRecordKind::Contact,
        }
    }
}

/// Judges one record.
pub fn parse(record: &ImportRecord) -> ParsedRecord {
    match &record.record {
        Some(Record::Client(client)) => client::parse(client),
        Some(Record::Contact(contact)) => contact::parse(contact),
        Some(Record::Address(address)) => address::parse(address),
        None => unreadable(&[]),
    }
}

/// Decodes one record and judges it. One that cannot be decoded, and one that is
/// none of the kinds, has the violation `UNREADABLE_RECORD` of the field "".
pub fn parse_bytes(bytes: &[u8]) -> ParsedRecord {
    match ImportRecord::decode(bytes) {
        Ok(record) if record.record.is_some() => parse(&record),
        _ => unreadable(bytes),
    }
}

fn unreadable(bytes: &[u8]) -> ParsedRecord {
    let mut wrong = Violations::new();
    let text = "Record could not be read: it is not a client, a contact or an address";
    wrong.push("", ErrorReason::UnreadableRecord, text);
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
        outcome: Err(wrong),
        warnings: Violations::new(),
    }
}

/// Reads the source id of the record itself; empty after noting what is wrong.
fn own_source_id(wrong: &mut Violations, text: &str) -> String {
    wrong.field("source_id", draft::source_id("Source id", text)).unwrap_or_default()
}

/// Reads the only e-mail address of a record; one that is wrong is left out.
fn email(wrong: &mut Violations, warnings: &mut Violations, text: &str) -> Vec<String> {
    warning::or_left_out(wrong, warnings, ("email", text), identifier::email).into_iter().collect()
}

/// Reads the only telephone number of a record; one that is wrong is left out.
fn phone(wrong: &mut Violations, warnings: &mut Violations, text: &str) -> Vec<String> {
    warning::or_left_out(wrong, warnings, ("phone", text), draft::phone).into_iter().collect()
}

/// Warns of damage in fields that keep no invisible characters.
fn damaged<const N: usize>(warnings: &mut Violations, fields: [(&str, &str, &str); N]) {
    for (field, label, text) in fields {
        warning::damaged(warnings, field, label, text);
    }
}

/// Judges a field that does not apply to the record: it may hold anything that
/// can be kept.
fn ignored(wrong: &mut Violations, field: &str, label: &str, value: &str) {
    wrong.field(field, text::check_characters(label, value));
}

/// The value of a field that must be given, or that it is blank.
fn given<T>(label: &str, read: Result<Option<T>, Problem>) -> Result<T, Problem> {
    read?.ok_or_else(|| text::blank(label))
}

/// The first of `names` that is not blank, fit to be shown.
fn first_name<const N: usize>(names: [&str; N]) -> String {
    let shown = names.into_iter().map(|name| text::shorten(name, text::MAX_NAME));
    shown.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
