//! Records of an import, as a product uploads them.

use concord_proto::pb::imports::{
    ContactClient, ImportAddress, ImportClient, ImportContact, ImportRecord, import_record::Record,
};
use prost::Message as _;

/// An encoded record.
pub fn encoded(record: Record) -> Vec<u8> {
    ImportRecord { record: Some(record), ..ImportRecord::default() }.encode_to_vec()
}

/// The company `{source_id} Limited` with the reference `REF-{source_id}`.
pub fn company(source_id: &str) -> ImportClient {
    ImportClient {
        source_id: source_id.into(),
        client_reference: format!("REF-{source_id}"),
        client_type: "PRIVATE_LIMITED_COMPANY".into(),
        registered_name: format!("{source_id} Limited"),
        ..ImportClient::default()
    }
}

/// A director of these clients, whose surname is the source id.
pub fn director(source_id: &str, clients: &[&str]) -> ImportContact {
    let of_client = |client: &&str| ContactClient {
        client_source_id: (*client).into(),
        roles: vec!["DIRECTOR".into()],
    };
    ImportContact {
        source_id: source_id.into(),
        clients: clients.iter().map(of_client).collect(),
        surname: source_id.into(),
        ..ImportContact::default()
    }
}

/// The trading address of a client, or the residential address of a contact. The owner has
/// a kind and a source id.
pub fn address_of((kind, owner): (&str, &str), source_id: &str) -> ImportAddress {
    let of_client = kind.eq_ignore_ascii_case("client");
    ImportAddress {
        source_id: source_id.into(),
        owner_kind: kind.into(),
        owner_source_id: owner.into(),
        r#type: if of_client { "TRADING" } else { "RESIDENTIAL" }.into(),
        line_1: "1 Quay Street".into(),
        ..ImportAddress::default()
    }
}

/// The encoded [`company`] with a change.
pub fn client(source_id: &str, change: impl FnOnce(&mut ImportClient)) -> Vec<u8> {
    let mut client = company(source_id);
    change(&mut client);
    encoded(Record::Client(client))
}

/// The encoded [`director`] with a change.
pub fn contact(
    source_id: &str,
    clients: &[&str],
    change: impl FnOnce(&mut ImportContact),
) -> Vec<u8> {
    let mut contact = director(source_id, clients);
    change(&mut contact);
    encoded(Record::Contact(contact))
}

/// The encoded [`address_of`] an owner with a change.
pub fn address(
    source_id: &str,
    owner: (&str, &str),
    change: impl FnOnce(&mut ImportAddress),
) -> Vec<u8> {
    let mut address = address_of(owner, source_id);
    change(&mut address);
    encoded(Record::Address(address))
}
