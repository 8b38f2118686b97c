//! Change events and snapshot records as JSON objects, with decoded records.

use concord_proto::{
    pb::records::{
        Address, ChangeKind, Client, ClientIdentifiers, Contact, ContactRole, Entry, Origin,
        Person, PersonName, RecordKind, entry,
    },
    wire::{Event, SnapshotRecord},
};
use prost::Message as _;
use serde_json::{Value, json};

use crate::event_names::{name, record_name, time};

/// A change event, with the field names of the protocol.
pub(crate) fn event(event: &Event) -> Result<Value, prost::DecodeError> {
    let client = event.client.clone().map(Client::decode).transpose()?;
    let person = event.person.clone().map(Person::decode).transpose()?;
    let contacts = event.contacts.iter().cloned().map(Contact::decode);
    let contacts = contacts.collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "position": event.position,
        "previous_position": event.previous_position,
        "change_id": event.change_id,
        "practice": event.practice_id,
        "record_kind": name::<RecordKind>(event.record_kind),
        "record_id": event.record_id,
        "record_version": event.record_version,
        "kind": name::<ChangeKind>(event.kind),
        "changed_fields": event.changed_fields,
        "entry_id": event.entry_id,
        "origin": event.origin.as_ref().map(origin),
        "linked": event.linked,
        "own": event.own,
        "transaction_id": event.transaction_id,
        "transaction_index": event.transaction_index,
        "transaction_count": event.transaction_count,
        "time": event.change_time.as_ref().map(time),
        "name": record_name(client.as_ref(), person.as_ref()),
        "client_reference": client.as_ref().map(|client| client.client_reference.as_str()),
        "client": client.as_ref().map(client_json),
        "person": person.as_ref().map(person_json),
        "contacts": contacts.iter().map(contact_json).collect::<Vec<_>>(),
    }))
}

/// A snapshot record, with the field names of the protocol and of events.
pub(crate) fn record(record: &SnapshotRecord) -> Result<Value, prost::DecodeError> {
    let client = record.client.clone().map(Client::decode).transpose()?;
    let person = record.person.clone().map(Person::decode).transpose()?;
    let contact = record.contact.clone().map(Contact::decode).transpose()?;
    Ok(json!({
        "practice": record.practice_id,
        "record_kind": name::<RecordKind>(record.record_kind),
        "record_id": record.record_id,
        "record_version": record.record_version,
        "linked": record.linked,
        "name": record_name(client.as_ref(), person.as_ref()),
        "client_reference": client.as_ref().map(|client| client.client_reference.as_str()),
        "client": client.as_ref().map(client_json),
        "person": person.as_ref().map(person_json),
        "contact": contact.as_ref().map(contact_json),
    }))
}

/// The origin of a change.
pub(crate) fn origin(origin: &Origin) -> Value {
    let Origin { product, account, user, import_id } = origin;
    json!({ "product": product, "account": account, "user": user, "import_id": import_id })
}

/// A client with its timelines.
pub(crate) fn client_json(client: &Client) -> Value {
    json!({
        "id": client.id,
        "type": name::<concord_proto::pb::records::ClientType>(client.r#type),
        "jurisdiction": name::<concord_proto::pb::records::Jurisdiction>(client.jurisdiction),
        "client_reference": client.client_reference,
        "registered_name": client.registered_name,
        "trading_name": client.trading_name,
        "person_id": client.person_id,
        "identifiers": client.identifiers.as_ref().map(identifiers),
        "emails": client.emails,
        "phones": client.phones,
        "entries": client.entries.iter().map(entry).collect::<Vec<_>>(),
        "state": name::<concord_proto::pb::records::RecordState>(client.state),
        "etag": client.etag,
        "version": client.version,
        "create_time": client.create_time.as_ref().map(time),
        "update_time": client.update_time.as_ref().map(time),
        "purge_time": client.purge_time.as_ref().map(time),
    })
}

fn identifiers(identifiers: &ClientIdentifiers) -> Value {
    let ClientIdentifiers { company_number, utr, vat_number, paye_reference } = identifiers;
    json!({
        "company_number": company_number,
        "utr": utr,
        "vat_number": vat_number,
        "paye_reference": paye_reference,
    })
}

/// A person with its timelines.
pub(crate) fn person_json(person: &Person) -> Value {
    json!({
        "id": person.id,
        "name": person.name.as_ref().map(person_name),
        "birth_date": person.birth_date,
        "nino": person.nino,
        "ppsn": person.ppsn,
        "emails": person.emails,
        "phones": person.phones,
        "entries": person.entries.iter().map(entry).collect::<Vec<_>>(),
        "state": name::<concord_proto::pb::records::RecordState>(person.state),
        "etag": person.etag,
        "version": person.version,
        "create_time": person.create_time.as_ref().map(time),
        "update_time": person.update_time.as_ref().map(time),
        "purge_time": person.purge_time.as_ref().map(time),
    })
}

fn person_name(name: &PersonName) -> Value {
    let PersonName { title, forename, middle_names, surname } = name;
    json!({ "title": title, "forename": forename, "middle_names": middle_names, "surname": surname })
}

/// A contact with its roles.
pub(crate) fn contact_json(contact: &Contact) -> Value {
    json!({
        "id": contact.id,
        "client_id": contact.client_id,
        "person_id": contact.person_id,
        "roles": contact.roles.iter().map(role).collect::<Vec<_>>(),
        "is_primary": contact.is_primary,
        "state": name::<concord_proto::pb::records::RecordState>(contact.state),
        "etag": contact.etag,
        "version": contact.version,
        "create_time": contact.create_time.as_ref().map(time),
        "update_time": contact.update_time.as_ref().map(time),
    })
}

fn role(role: &ContactRole) -> Value {
    json!({
        "role": name::<concord_proto::pb::records::Role>(role.role),
        "appointed_on": role.appointed_on,
        "resigned_on": role.resigned_on,
    })
}

fn entry(entry: &Entry) -> Value {
    let value = match &entry.value {
        Some(entry::Value::Name(name)) => json!(name),
        Some(entry::Value::PersonName(name)) => person_name(name),
        Some(entry::Value::Address(address)) => address_json(address),
        None => Value::Null,
    };
    json!({
        "id": entry.id,
        "timeline": name::<concord_proto::pb::records::Timeline>(entry.timeline),
        "address_type": name::<concord_proto::pb::records::AddressType>(entry.address_type),
        "value": value,
        "active_from": entry.active_from,
        "active_to": entry.active_to,
        "status": name::<concord_proto::pb::records::EntryStatus>(entry.status),
        "etag": entry.etag,
    })
}

fn address_json(address: &Address) -> Value {
    let Address { line_1, line_2, line_3, town, county, postcode, country } = address;
    json!({
        "line_1": line_1,
        "line_2": line_2,
        "line_3": line_3,
        "town": town,
        "county": county,
        "postcode": postcode,
        "country": country,
    })
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn event_json_decodes_the_record() {
        let client = Client {
            client_reference: "ACME01".to_owned(),
            registered_name: "Acme Limited".to_owned(),
            ..Client::default()
        };
        let change = Event {
            position: 7,
            previous_position: 4,
            record_kind: RecordKind::Client.into(),
            kind: ChangeKind::EntryAdded.into(),
            client: Some(client.encode_to_vec().into()),
            change_time: Some(Timestamp { seconds: 0, nanos: 5_000 }),
            ..Event::default()
        };
        let read = event(&change).unwrap();
        assert_eq!(read["name"], "Acme Limited");
        assert_eq!(read["client"]["client_reference"], "ACME01");
        assert_eq!(
            (&read["record_kind"], &read["kind"]),
            (&json!("client"), &json!("entry_added"))
        );
        assert_eq!(read["time"], "1970-01-01T00:00:00.000005Z");
    }
}
