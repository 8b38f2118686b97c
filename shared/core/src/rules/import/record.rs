//! The result of parsing one record of an import.

use chrono::NaiveDate;

use crate::rules::{
    draft::{AddressDraft, ClientDraft, PersonDraft},
    violation::FieldViolations,
};
use concord_proto::pb::{
    imports::ImportRecordKind,
    records::{AddressType, Role},
};

/// The result of parsing one record of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRecord {
    /// The kind; unspecified if the record could not be decoded.
    pub kind: ImportRecordKind,
    /// The normalised id that the product assigned: the key of the record. Empty if it is
    /// blank, too long or contains a forbidden character.
    pub source_id: String,
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
